"""What Python is given: pictures as their files are read, and numbers and text as Python's own."""

import enum
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import (
    Control,
    Extend,
    Facts,
    ImagePrompt,
    Lora,
    Pipeline,
    Region,
    Request,
    RequestError,
    load_image,
    read_facts,
)
from inkpunk.cli import main
from inkpunk.pictures import reading
from inkpunk.pictures.reading import plain
from PIL import Image


def shown(value: object) -> str:
    """A value as the name of a test, the same in every process; numbers of thousands of digits refuse to be told."""
    try:
        return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
    except ValueError:
        return f"huge {type(value).__name__}"


NOISE = np.random.default_rng(0)


def noise(mode: str, *size: int) -> Image.Image:
    width, height = size or (72, 56)
    if mode.startswith("I"):
        levels = NOISE.integers(0, 65536, (height, width))
        return Image.fromarray(levels.astype(np.uint16 if mode == "I;16" else np.int32))
    return Image.fromarray(NOISE.integers(0, 256, (height, width, 4), dtype=np.uint8)).convert(mode)


def with_alpha_palette() -> Image.Image:
    image = noise("RGBA").quantize(16)
    image.info["transparency"] = bytes(range(0, 256, 16))
    return image


def turned() -> Image.Image:
    image = noise("RGB")
    image.getexif()[0x0112] = 6
    return image


def with_clear_level() -> Image.Image:
    image = noise("L")
    image.info["transparency"] = image.getpixel((3, 3))
    return image


PICTURES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    **{mode: (partial(noise, mode), "png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    **{mode: (partial(noise, mode), "tiff") for mode in ("CMYK", "I")},
    "palette with transparency": (with_alpha_palette, "png"),
    "a level that is transparent": (with_clear_level, "png"),
    "turned": (turned, "png"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_its_file_is(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    make, kind = PICTURES[name]
    image = make()
    before = image.tobytes(), dict(image.info)
    path = tmp_path / f"start.{kind}"
    # PNG and TIFF keep EXIF only if they are told to
    image.save(path, **({"exif": image.getexif()} if name == "turned" else {}))
    with Image.open(path) as opened:
        requests = [Request("a", seeds=(1,), init=each) for each in (image, path, str(path), opened)]
    starts = [pipeline.plan(request).start for request in requests]
    assert all(start is not None and start.mode == "RGB" for start in starts)
    assert len({start.tobytes() for start in starts if start}) == 1
    assert starts[0] == load_image(path, *pipeline.size(requests[0]))
    assert (image.tobytes(), dict(image.info)) == before  # it is the caller's


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "HSV", "YCbCr", "RGBX", "I;16B"])
def test_modes_that_few_files_have_are_taken(mode: str) -> None:
    white = Image.new("L", (8, 8), 255)
    if mode == "I;16B":
        image = Image.new("I", (8, 8), 65535).convert("I;16B")
    elif mode == "PA":
        image = white.convert("P").convert("PA")
    else:
        image = white.convert({"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")).convert(mode)
    start = Request("a", init=image).picture
    assert start is not None and start.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("F", (8, 8)), "init: an image of floating-point pixels has no fixed white"),
        (Image.new("LAB", (8, 8)), "init: its colours are LAB"),
        (Image.new("1", (8001, 8000)), "init: too large, 8001 x 8000 pixels: at most 64,000,000"),
    ],
    ids=["F", "LAB", "large"],
)
def test_what_has_no_colours_or_too_many_pixels_is_refused(image: Image.Image, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        Request("a", init=image)


def test_a_picture_whose_file_is_cut_or_closed_is_refused() -> None:
    buffer = BytesIO()
    noise("RGB").save(buffer, "PNG")
    with pytest.raises(RequestError, match="init: damaged image"):
        Request("a", init=Image.open(BytesIO(buffer.getvalue()[:2000])))
    image = Image.open(buffer)
    image.close()
    with pytest.raises(RequestError, match="init: "):
        Request("a", init=image)


@pytest.mark.parametrize(
    "init", [7, b"start.png", np.zeros((8, 8, 3), np.uint8), torch.zeros(3, 8, 8), ["a.png"]]
)
def test_what_is_no_picture_is_refused(init: object) -> None:
    with pytest.raises(RequestError, match="init: must be a picture of Pillow's or the path of one, not "):
        Request("a", init=init)


def test_a_path_to_nothing_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"init .*none\.png: no such file"):
        Request("a", init=tmp_path / "none.png")


def test_a_plain_picture_is_kept_as_it_is() -> None:
    image = noise("RGB")
    request = Request("a", init=image)
    assert replace(request, steps=3).picture is request.picture
    assert plain(image) is image


NUMBERS: dict[str, list[object]] = {
    "steps": [np.int64(4), np.uint8(4), torch.tensor(4), np.array(4), enum.IntEnum("Steps", {"FEW": 4}).FEW],
    "width": [np.int32(64), torch.tensor(64, dtype=torch.int16)],
    "height": [np.int64(64)],
    "clip_skip": [np.int64(1)],
    "guidance": [
        np.float32(4),
        np.float64(4),
        np.int64(4),
        torch.tensor(4.0),
        torch.tensor(4.0).bfloat16(),
        4,
    ],
    "guidance_rescale": [np.float16(0.5), torch.tensor(0.5, requires_grad=True)],
    "strength": [np.float32(0.5), torch.tensor(0.5), 1, np.longdouble(0.5)],
    "eta": [np.float32(1)],
    "guidance_interval": [
        (np.float32(0.25), np.int64(5)),
        [0.25, 5],
        np.array([0.25, 5]),
        torch.tensor([0.25, 5]),
    ],
    "apg": [np.True_, torch.tensor(True)],
    "plain_prompt": [np.True_, torch.tensor(True)],
    "seeds": [(np.int64(7), torch.tensor(8)), [7, 8], range(7, 9), np.array([7, 8]), torch.tensor([7, 8])],
    "prompt": [np.str_("a")],
    "sampler": [np.str_("euler_a")],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in NUMBERS for value in NUMBERS[name]], ids=repr
)
def test_numbers_of_others_are_kept_as_pythons_own(pipeline: Pipeline, name: str, value: object) -> None:
    request = Request(**{"prompt": "a", "sampler": "euler_a", "init": noise("RGB"), name: value})
    kept = getattr(request, name)
    members = kept if isinstance(kept, tuple) else [kept]
    assert {type(member) for member in members} <= {int, float, bool, str}
    facts = pipeline.facts(pipeline.plan(request), request.seeds[0])
    assert Facts.from_json(facts.to_json()) == facts  # all of their types
    assert json.loads(facts.to_json()) == json.loads(json.dumps(asdict(facts)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", None),
        ("prompt", Path("a")),
        ("prompt", b"a"),
        ("negative_prompt", 3),
        ("seeds", 7),
        ("seeds", "78"),
        ("seeds", {7, 8}),
        ("seeds", (7.0,)),
        ("seeds", (True,)),
        ("seeds", np.array([[7, 8]])),
        ("seeds", torch.tensor(7)),
        ("seeds", None),
        ("steps", "8"),
        ("steps", 8.0),
        ("steps", True),
        ("steps", np.float64(8)),
        ("steps", torch.tensor([8])),
        ("guidance", "7.5"),
        ("guidance", 1j),
        ("guidance", True),
        ("guidance", torch.ones(2)),
        ("guidance", 10**400),
        ("sampler", 3),
        ("spacing", ["karras"]),
        ("width", 64.0),
        ("height", "64"),
        ("strength", None),
        ("guidance_rescale", "0.7"),
        ("guidance_interval", 0.28),
        ("guidance_interval", (1.0, 2.0, 3.0)),
        ("guidance_interval", ("0", "1")),
        ("apg", 1),
        ("apg", None),
        ("eta", [0.5]),
        ("like", None),
        ("like", ["a1111"]),
        ("clip_skip", 2.0),
        ("emphasis", 1),
        ("plain_prompt", "yes"),
        ("wildcards", ["raven"]),
        ("wildcards", {"bird": "raven"}),
        ("wildcards", {"bird": [1]}),
        ("wildcards", {1: ["raven"]}),
        ("seeds", (10**5000,)),
        ("seeds", range(10**20)),
        ("steps", 10**5000),
        ("width", -(10**5000)),
        ("prompt", 10**5000),
        ("controls", None),
        ("controls", 5),
        ("controls", "canny:start.png"),
        ("controls", {"canny": "start.png"}),
        ("image_prompts", None),
        ("image_prompts", "start.png"),
        ("regions", None),
        ("regions", 5.0),
        ("regions", "a fox@start.png"),
        ("mask", 7),
        ("mask", np.zeros((8, 8), np.uint8)),
        ("extend", 64),
        ("extend", ["left=8"]),
        ("enlarge", object()),
        ("enlarge", True),
        ("enlarge", {"to": 2}),
        ("resize", None),
        ("resize", 2),
        ("match_colours", "yes"),
        ("keep_alpha", 1),
        ("masked_content", None),
        ("only_masked", "32"),
        ("guess", 1.0),
        ("draft", "no"),
        ("tileable", True),
        ("tile_size", 512.0),
        ("blend", 0.3),
        ("blend", ("a fox", "0.3")),
        ("vary", 8),
        ("vary", ("8", 0.2)),
        ("vary", (10**5000, 0.2)),
        ("seed_resize", 512),
        ("seed_resize", (512.0, 512)),
    ],
    ids=shown,
)
def test_a_value_of_another_kind_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"^{name.replace('_', ' ')}[:, ]") as refusal:
        Request(**{"prompt": "a", name: value})
    assert "\n" not in str(refusal.value)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


class OfSeveralLines:
    def __repr__(self) -> str:
        return "one\ntwo\x1b[2J"


@pytest.mark.parametrize(
    "value", [Unshowable(), OfSeveralLines(), [10**5000]], ids=lambda value: type(value).__name__
)
def test_what_cannot_be_shown_is_refused_on_one_line(value: object) -> None:
    for name in ("steps", "prompt", "guidance", "blend", "apg"):
        with pytest.raises(RequestError, match=f"^{name}: must be ") as refusal:
            Request(**{"prompt": "a", name: value})
        assert str(refusal.value).isprintable()


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5)])
def test_what_goes_with_a_picture_keeps_numbers_as_pythons_own(number: Any) -> None:
    image = noise("RGB")
    kept = [
        Control("canny", image, number, number, number + 0.25).weight,
        Control("canny", image, 1.0, number, number + 0.25).start,
        ImagePrompt(image, number).weight,
        Lora("neon", number, number).weight,
        Lora("neon", 1.0, number).text_encoder,
    ]
    assert [type(each) for each in kept] == [float] * 5
    assert {*kept} == {0.5}
    whole = Extend(np.int64(8), torch.tensor(16), np.array(24))
    assert repr(whole) == repr(Extend(8, 16, 24))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Control("canny", "a.png", "0.9"), "control, weight: must be a number, not str '0.9'"),
        (lambda: Control(5, "a.png"), "control, kind: must be text, not int 5"),
        (lambda: Control("canny", "a.png", ready="yes"), "control, ready: must be True or False"),
        (lambda: ImagePrompt("a.png", None), "image prompt, weight: must be a number"),
        (lambda: Region(None, "a.png"), "region, prompt: must be text"),
        (lambda: Request("a", regions=[Region("a", 5)]), "region 'a': its mask must be a picture"),
        (lambda: Request("a", controls=[5]), "controls: must be of inkpunk.Control"),
        (
            lambda: Request("a", controls=[Control("canny", 5)]),
            "control canny: must be a picture of Pillow's",
        ),
        (lambda: Request("a", image_prompts=[5]), "image prompt: must be a picture of Pillow's"),
        (lambda: Extend(left="8"), "extend left: must be a whole number, not str '8'"),
        (lambda: Extend(top=8.5), "extend top: must be a whole number"),
        (lambda: Lora("a", "0.8"), "LoRA a, weight: must be a number, not str '0.8'"),
        (lambda: Lora(5), "LoRA: must be the path of a file, not int"),
    ],
)
def test_what_goes_with_a_picture_is_refused_by_name_where_it_is_of_another_kind(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        make()


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": "a \udcff"},
        {"negative_prompt": "a \udcff"},
        {"blend": ("a \udcff", 0.3)},
        {"regions": [Region("a \udcff", noise("L"))]},
        {"prompt": "__bird__", "wildcards": {"bird": ["\udcff"]}},
        {"regions": [Region("__bird__", noise("L"))], "wildcards": {"bird": ["\udcff"]}},
    ],
    ids=shown,
)
def test_half_a_surrogate_pair_is_no_text_anywhere(settings: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="half a surrogate pair, which is no text"):
        Request(**{"prompt": "a", **settings})


@settings(deadline=None)
@given(
    number=st.floats(-1, 2) | st.integers(-1, 2),
    kind=st.sampled_from([np.float32, np.float64, torch.tensor, np.array]),
)
def test_ranges_hold_whatever_a_number_is(number: float, kind: Callable[[float], Any]) -> None:
    as_pythons_own = float(kind(number))
    if 0 < as_pythons_own <= 1:
        assert Request("a", strength=kind(number)).strength == as_pythons_own
    else:
        with pytest.raises(RequestError, match="strength"):
            Request("a", strength=kind(number))


def generate(tiny: Path, *arguments: object) -> tuple[str, Facts]:
    out = arguments[arguments.index("--out") + 1]
    options = ["--model", tiny, "--device", "cpu", "--steps", 2, "--seed", 3, *arguments]
    result = CliRunner().invoke(main, ["generate", "a raven", *map(str, options)])
    assert result.exit_code == 0, result.output
    return result.stderr, read_facts(Path(str(out)))


def test_the_size_is_that_of_the_pictures_shape(tiny: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    start, out = tmp_path / "start.png", tmp_path / "out.png"
    noise("RGB", 300, 200).save(start)
    told, facts = generate(tiny, "--init", start, "--out", out)
    assert (facts.width, facts.height) == (80, 56)  # the model's are 64 x 64
    assert f"--init {start}: drawn at 80 x 56; 4.8% of its width is cut off, evenly at both sides\n" in told
    with Image.open(out) as image:
        assert image.size == (80, 56)
    for init in (start, Image.open(start)):
        [picture] = pipeline.generate(Request("a raven", seeds=(3,), steps=2, init=init))
        assert replace(picture.facts, paths={}) == replace(facts, paths={})
        with Image.open(out) as image:
            assert picture.image.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("options", "size", "cut"),
    [
        (["--width", 64, "--height", 64], (64, 64), "33.3% of its width"),
        (["--width", 96], (96, 64), ""),
        (["--height", 64], (96, 64), ""),
        (["--width", 48, "--height", 64], (48, 64), "50.0% of its width"),
    ],
)
def test_a_size_that_is_given_wins(
    tiny: Path, tmp_path: Path, options: list[object], size: tuple[int, int], cut: str
) -> None:
    start, out = tmp_path / "start.png", tmp_path / "out.png"
    noise("RGB", 300, 200).save(start)
    told, facts = generate(tiny, "--init", start, "--out", out, *options)
    assert (facts.width, facts.height) == size
    end = f"; {cut} is cut off, evenly at both sides\n" if cut else "\n"
    assert f"drawn at {size[0]} x {size[1]}{end}" in told


def test_a_grid_takes_each_pictures_shape_and_says_so_once(tiny: Path, tmp_path: Path) -> None:
    for name, size in {"wide": (300, 200), "high": (200, 300)}.items():
        noise("RGB", *size).save(tmp_path / f"{name}.png")
    options = ["--x", f"init={tmp_path / 'wide.png'},{tmp_path / 'high.png'}", "--y", "strength=0.5,1"]
    cells = tmp_path / "cells"
    result = CliRunner().invoke(
        main,
        ["grid", "a raven", "--model", str(tiny), "--device", "cpu", "--steps", "2", *options,
         "--out", str(tmp_path / "a.png"), "--save-cells", str(cells)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sizes = [(facts.width, facts.height) for facts in map(read_facts, sorted(cells.iterdir()))]
    assert sizes == [(80, 56), (56, 80)] * 2
    assert result.stderr.count("wide.png: drawn at 80 x 56") == 1
    assert result.stderr.count("high.png: drawn at 56 x 80") == 1


def test_a_picture_that_cannot_be_read_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "start.png"
    path.write_bytes(b"no picture")
    result = CliRunner().invoke(main, ["generate", "a", "--init", str(path), "--model", "none.safetensors"])
    assert result.exit_code == 1
    assert "start.png: not an image of a known kind" in result.output


def test_no_warning_is_given_of_a_picture_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 3000
    )  # Pillow warns from here on, and refuses from twice as many
    path = tmp_path / "start.png"
    noise("P").save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reading.read_picture(path).size == (72, 56)
