"""Transparency of a picture to start from, and masks: both as files of any kind have them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Request, load_image
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.masks import read_mask
from PIL import Image

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


def painted(colour: tuple[int, int, int], alpha: np.ndarray = RAMP) -> Image.Image:
    image = Image.new("RGBA", alpha.shape[::-1], colour)
    image.putalpha(Image.fromarray(alpha))
    return image


def test_a_request_keeps_how_opaque_its_start_is(tmp_path: Path) -> None:
    painted((200, 20, 0)).save(tmp_path / "start.png")
    request = replace(Request("a", init=tmp_path / "start.png"), steps=3)
    assert request.alpha is not None and np.array_equal(np.asarray(request.alpha), RAMP)
    assert request.picture == load_image(tmp_path / "start.png", 32, 8)  # over white
    assert replace(request, init=request.picture).alpha is None


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_a_picture_that_is_wholly_opaque_has_no_alpha(mode: str) -> None:
    image = painted((9, 9, 9), np.full_like(RAMP, 255)).convert(mode)
    assert Request("a", init=image).alpha is None


def test_transparency_of_16_bits_turned_and_reduced_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clear = Image.fromarray(RAMP.astype(np.uint16) * 257)
    clear.info["transparency"] = 257
    alpha = Request("a", init=clear).alpha
    assert alpha is not None and np.array_equal(np.asarray(alpha) == 0, RAMP == 1)
    image = painted((0, 0, 0))
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=image.getexif())
    alpha = Request("a", init=tmp_path / "turned.png").alpha
    assert alpha is not None and np.array_equal(np.asarray(alpha), np.rot90(RAMP, -1))
    monkeypatch.setattr("inkpunk.pictures.plain.KEPT_PIXELS", 64)
    alpha = Request("a", init=painted((0, 0, 0))).alpha
    assert alpha is not None and alpha.size == (16, 4)


GREY = Image.fromarray(RAMP)
MASKS: dict[str, Callable[[], Image.Image]] = {
    "L": GREY.copy,
    "RGB": partial(GREY.convert, "RGB"),
    "P": partial(GREY.convert, "P"),
    "opaque": partial(GREY.convert, "RGBA"),
    "I;16": lambda: Image.fromarray(RAMP.astype(np.uint16) * 257),
    "I": lambda: Image.fromarray(RAMP.astype(np.int32) * 257),
    "painted in black": lambda: painted((0, 0, 0)),
    "painted in red": lambda: painted((255, 0, 0)),
    "LA": lambda: painted((255, 255, 255)).convert("LA"),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_any_kind_is_how_much_is_drawn_anew(tmp_path: Path, name: str) -> None:
    mask = MASKS[name]()
    path = tmp_path / "mask.tiff"
    mask.save(path)
    for each in (mask, path, str(path)):
        read = read_mask(each)
        assert read.mode == "L" and np.array_equal(np.asarray(read), RAMP)


def test_a_mask_of_black_and_white_and_of_colours() -> None:
    assert read_mask(GREY.convert("1", dither=Image.Dither.NONE)).getextrema() == (0, 255)
    assert read_mask(Image.new("RGB", (2, 2), "lime")).getextrema() == (150, 150)  # Rec. 601


@settings(max_examples=30)
@given(st.integers(0, 255), st.integers(0, 255))
def test_what_a_mask_of_several_colours_leaves_transparent_is_kept(level: int, alpha: int) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0] = 255  # white, and below it transparent or of another grey
    pixels[1] = (level, level, level, alpha)
    pixels[1, 1] = (0, 0, 0, 255)
    mask = np.asarray(read_mask(Image.fromarray(pixels)))
    assert (mask[0] == 255).all() and mask[1, 1] == 0
    assert abs(int(mask[1, 0]) - level * alpha / 255) <= 1


def test_what_is_no_mask_is_refused_as_pictures_are(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none\.png: no such file"):
        read_mask(tmp_path / "none.png")
    with pytest.raises(PictureError, match="floating-point pixels"):
        read_mask(Image.new("F", (8, 8)))
