"""Pictures as PNG, JPEG, WebP and AVIF: the same recipe inside, for our readers and for AUTOMATIC1111's."""

from collections.abc import Callable, Generator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Facts, Pipeline, Request, read_facts
from inkpunk.cli import main
from inkpunk.pictures import formats
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.grid_facts import Axis, GridFacts
from inkpunk.pictures.grid_picture import GridPicture
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import infotext, read_grid_facts
from inkpunk.pictures.recipe import is_picture, read_recipe
from inkpunk.pictures.xmp import read_packet
from PIL import Image

IMAGE = Image.new("RGB", (64, 32), "teal")
OTHERS = ("jpeg", "webp", "avif")
texts = st.text(st.characters()) | st.sampled_from(
    ["Ā", "</inkpunk:facts>", "&lt;&#13;\r\n", "\0\1\ud800\ufffe", "]]>", "龍", "'\"<"]
)


@pytest.mark.parametrize("form", OTHERS)
@settings(deadline=None, max_examples=25)
@given(prompt=texts, negative=texts, model=texts)
def test_any_recipe_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, prompt: str, negative: str, model: str
) -> None:
    facts = Facts(
        prompt=prompt, negative_prompt=negative, steps=3, sampler="ddim", spacing=None, guidance=7.5, seed=2**63 - 1,
        width=64, height=32, model=model, model_hash="", version="0",
    )  # fmt: skip
    path = Picture(IMAGE, facts).save_into(tmp_path_factory.mktemp("formats"), format=form)
    assert path.suffix == formats.ending_of(form) and is_picture(path)
    assert read_facts(path) == facts
    recipe = read_recipe(path)
    assert recipe.texts["parameters"] == infotext(facts)
    assert (recipe.format, recipe.width, recipe.height) == (formats.FORMATS[form], 64, 32)
    with Image.open(
        path
    ) as image:  # as AUTOMATIC1111's readers find it: piexif takes no other order of bytes
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + infotext(facts).encode("utf-16-be")
    assert b"\x92\x86\0\7" in path.read_bytes()  # of the type UNDEFINED, without which piexif stumbles


@pytest.mark.parametrize("form", OTHERS)
def test_a_recipe_longer_than_a_segment_of_a_jpeg_is_whole(tmp_path: Path, facts: Facts, form: str) -> None:
    long = replace(facts, prompt="龍 raven, " * 20_000)
    path = Picture(IMAGE, long).save(tmp_path / f"long{formats.ending_of(form)}")
    assert read_facts(path) == long
    assert read_recipe(path).texts["parameters"] == infotext(long)
    with Image.open(path) as image:
        image.load()


def test_a_grid_is_read_back_from_any(tmp_path: Path, facts: Facts) -> None:
    grid = GridFacts(Axis("steps", ("20", "30")), None, ((facts, replace(facts, steps=30)),))
    for form in OTHERS:
        path = GridPicture(IMAGE, facts, grid).save_into(tmp_path, format=form)
        assert read_grid_facts(path) == grid and read_facts(path) == facts
    assert [path.name[:9] for path in sorted(tmp_path.iterdir())] == ["0001-grid", "0002-grid", "0003-grid"]


def test_a_packet_that_another_program_saved_again_is_read() -> None:
    as_attribute = b"""<rdf:Description inkpunk:facts='{"prompt": "a &apos;raven&apos;"}'/>"""
    assert read_packet(as_attribute) == {"inkpunk": """{"prompt": "a 'raven'"}"""}
    assert read_packet(b"\xff<inkpunk:facts>no end") == {}
    lost = b'xmpNote:HasExtendedXMP="' + b"A" * 32
    assert read_packet(lost, [b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32]) == {}


def test_a_webp_of_the_best_quality_loses_nothing(tmp_path: Path, facts: Facts) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 4), dtype=np.uint8)
    picture = Picture(Image.fromarray(pixels), facts)
    with Image.open(picture.save(tmp_path / "best.webp", quality=100)) as image:
        assert np.array_equal(np.asarray(image), pixels)
    for name in ("usual.webp", "usual.avif", "usual.png"):
        with Image.open(picture.save(tmp_path / name)) as image:
            assert image.mode == "RGBA"
    sizes = [len(picture.file("avif", quality)) for quality in (10, None, 95)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda picture: picture.file("gif"), "format 'gif': pictures are saved as png, jpeg, webp, avif"),
        (lambda picture: picture.file("png", 90), "quality 90: a PNG loses nothing"),
        (lambda picture: picture.file("webp", 101), "quality 101: must lie between 1 and 100"),
        (lambda picture: picture.file("jpeg"), "a JPEG holds no transparency"),
        (lambda picture: picture.save("no/a.jpg"), "no/a.jpg: a JPEG holds no transparency"),
        (
            lambda picture: Picture(Image.new("L", (16_384, 1)), picture.facts).file("webp"),
            "16384 x 1 pixels: no side of a WEBP has more than 16,383",
        ),
    ],
    ids=["format", "png", "range", "alpha", "path", "side"],
)
def test_what_a_format_cannot_hold_is_refused(
    facts: Facts, ask: Callable[[Picture], object], words: str
) -> None:
    with pytest.raises(PictureError, match=words):
        ask(Picture(IMAGE.convert("RGBA"), facts))


def test_what_pillow_was_built_without_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(PictureError, match="AVIF: this Pillow was built without it"):
        formats.check_writable("avif")
    formats.check_writable("webp")


def run(*options: object) -> Result:
    return CliRunner().invoke(main, [*map(str, options)])


def test_generate_saves_as_it_is_told(pipeline: Pipeline, tiny: Path, tmp_path: Path) -> None:
    common = ["generate", "a raven", "--model", tiny, "--device", "cpu", "--steps", 2, "--seed", 7]
    result = run(*common, "--out", tmp_path / "a.AVIF")
    assert result.exit_code == 0, result.output
    drawn = pipeline.generate(Request("a raven", seeds=(7,), steps=2))[0]
    assert read_facts(tmp_path / "a.AVIF") == drawn.facts
    result = run(*common, "--count", 2, "--format", "webp", "--quality", 100, "--out", tmp_path / "many")
    assert result.exit_code == 0, result.output
    first, second = sorted((tmp_path / "many").iterdir())
    assert [first.name, second.name] == ["0001-a-raven-seed7.webp", "0002-a-raven-seed8.webp"]
    with Image.open(first) as image:
        assert image.tobytes() == drawn.image.tobytes()
    shown = run("inspect", tmp_path / "a.AVIF").output
    assert shown.startswith("AVIF picture, 64 x 64\na raven\nSteps: 2")


def test_a_grid_and_its_cells_are_saved_as_told(tiny: Path, tmp_path: Path) -> None:
    result = run(
        "grid", "a raven", "--model", tiny, "--device", "cpu", "--x", "steps=1,2", "--format", "webp",
        "--out", tmp_path / "sheets", "--save-cells", tmp_path / "cells",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert {path.suffix for folder in ("sheets", "cells") for path in (tmp_path / folder).iterdir()} == {
        ".webp"
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "a.webp", "--format", "png"], "--format png: --out a.webp says webp by its ending"),
        (["--quality", "50"], "quality 50: a PNG loses nothing"),
        (["--keep-alpha", "--out", "a.jpg"], "a JPEG holds no transparency"),
        (["--out", "a.gif"], "pictures are saved as .png, .jpg, .webp or .avif"),
    ],
    ids=["two", "png", "alpha", "gif"],
)
def test_what_cannot_be_saved_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["generate", "a"], ["grid", "a", "--x", "steps=1,2", "--save-cells", "cells"]):
        result = run(*command, "--model", "none.safetensors", *options)
        assert result.exit_code in (1, 2) and words in result.output, result.output
    assert [*tmp_path.iterdir()] == []


def test_pngs_are_as_they_were(facts: Facts) -> None:
    data = Picture(IMAGE, facts).file()
    assert data == Picture(IMAGE, facts).png() and b"eXIf" not in data and b"XML:com" not in data
    with Image.open(BytesIO(data)) as image:
        assert {*image.info} == {"parameters", "inkpunk"}


def test_what_is_larger_than_its_file_can_hold_is_refused_before_it_is_drawn(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formats.MOST_SIDE, "webp", 100)

    def drawn(*_: object) -> Generator[None]:
        yield pytest.fail("it was drawn")

    monkeypatch.setattr(Pipeline, "_steps", drawn)
    Image.new("RGB", (64, 64)).save(tmp_path / "start.png")
    size, out = ["--width", "104", "--height", "64"], str(tmp_path / "a.webp")
    for command in (
        ["generate", "a", *size],
        ["generate", "a", "--enlarge", "104x64"],
        ["edit", str(tmp_path / "start.png"), "a", "--extend", "left=64"],
        ["enlarge", str(tmp_path / "start.png"), "a", "--to", "104x64", "--strength", "1"],
        ["travel", "a", "b", *size],
        ["grid", "a", "--x", "seed=1,2"],
    ):
        result = CliRunner().invoke(main, [*command, "--model", str(tiny), "--out", out])
        assert (
            result.exit_code == 1 and "no side of a WEBP has more than 100; save it as PNG" in result.output
        )
