"""The recipe inside a picture, whoever drew it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Facts, read_facts
from inkpunk.cli import main
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import values_of_others
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.recipe import READERS, is_picture, read_recipe
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngInfo

INFOTEXT = "a raven 龍\nNegative prompt: owl\nSteps: 20, Sampler: Euler a, Seed: 1"


def inspect(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["inspect", str(path), *options])


def with_comment(path: Path, comment: bytes) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (24, 16)).save(path, exif=exif)
    return path


def test_our_own_recipe_is_shown(facts: Facts, tmp_path: Path) -> None:
    path = tmp_path / "ours.png"
    Picture(Image.new("RGB", (64, 32)), facts).save(path)
    result = inspect(path)
    assert result.exit_code == 0
    assert result.output.startswith(
        "PNG picture, 64 x 32\nnvinkpunk red dragon\nNegative prompt: blurry\nSteps: 20"
    )
    told = json.loads(inspect(path, "--json").output)
    assert Facts.from_json(told["texts"]["inkpunk"]) == facts


@pytest.mark.parametrize("name", ["theirs.jpg", "theirs.webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"\0" * 8 + INFOTEXT.encode(),
    ],
)
def test_automatic1111s_is_shown_from_a_jpeg_or_a_webp(name: str, comment: bytes, tmp_path: Path) -> None:
    result = inspect(with_comment(tmp_path / name, comment))
    assert result.output.splitlines()[1:5] == [*INFOTEXT.splitlines(), ""]


def test_comfyuis_workflow_is_shown(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("prompt", '{"3": {"class_type": "KSampler"}}')
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png", pnginfo=text)
    assert (
        inspect(tmp_path / "theirs.png").output.splitlines()[1] == 'prompt: {"3": {"class_type": "KSampler"}}'
    )


def test_a_picture_without_a_recipe_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    result = inspect(tmp_path / "plain.png")
    assert result.exit_code == 0 and "It holds no recipe" in result.output


@pytest.mark.parametrize("name", ["huge.png", "huge.jpg", "huge.webp"])
def test_a_huge_picture_is_looked_at_without_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Image.new("L", (16_000, 2000)).save(tmp_path / name)

    def decoded(self: ImageFile) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(ImageFile, "load_prepare", decoded)
    assert " picture, 16000 x 2000\n" in inspect(tmp_path / name).output


def test_what_is_no_picture_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"PK\3\4")
    assert not is_picture(tmp_path / "model.ckpt")
    assert not is_picture(tmp_path)
    with pytest.raises(PictureError, match="neither PNG, JPEG, WebP nor AVIF"):
        read_recipe(tmp_path / "model.ckpt")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([*READERS]), st.binary(max_size=200))
def test_a_damaged_picture_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "picture"
    path.write_bytes(magic + rest)
    try:
        read_recipe(path)
    except PictureError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("name", ["raven.txt", "raven.TXT"])
def test_a_recipe_by_itself_is_shown(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("\ufeff" + INFOTEXT, encoding="utf-8")
    result = inspect(path)
    assert result.exit_code == 0
    assert result.output.startswith(f"TXT recipe\n{INFOTEXT}\n")
    assert "Read as a request, written by AUTOMATIC1111" in result.output
    assert json.loads(inspect(path, "--json").output)["understood"]["values"]["negative"] == "owl"


def test_a_workflow_and_our_own_recipe_by_themselves_are_shown(facts: Facts, tmp_path: Path) -> None:
    workflow = Path(__file__).parent / "others" / "workflow.json"
    result = inspect(workflow)
    assert result.exit_code == 0 and "Read as a request, written by ComfyUI" in result.output
    ours = tmp_path / "ours.json"
    ours.write_text(facts.to_json())
    result = inspect(ours)
    assert result.exit_code == 0 and "nvinkpunk red dragon" in result.output


@pytest.mark.parametrize("text", [b"a shopping list", b"{}", b'{"a": [', b"\xff\xfe\0", b"", b"Steps: " * 9])
@pytest.mark.parametrize("name", ["raven.txt", "raven.json"])
def test_text_that_is_no_recipe_is_said_to_be_that(text: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text)
    result = inspect(path)
    assert result.exit_code == 1
    assert "text, but no recipe that is known here" in result.output and len(result.output.splitlines()) == 1


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "ico"])
def test_a_picture_of_a_kind_that_holds_no_recipe_is_called_that(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"raven.{kind}"
    Image.new("RGB", (16, 16)).save(path)
    result = inspect(path)
    assert result.exit_code == 1
    assert f"a {kind.upper()} picture, which holds no recipe" in result.output


@pytest.mark.parametrize("name", ["inkpunk", "parameters", "prompt", "invokeai_metadata"])
def test_a_recipe_of_more_values_than_any_has_is_refused_unparsed(name: str, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt(name, '{"prompt": [' + "[]," * 600_000 + "0]}")
    path = tmp_path / "bomb.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    with pytest.raises(PictureError, match="more than 400,000 values"):
        read_facts(path) if name == "inkpunk" else values_of_others(path)
