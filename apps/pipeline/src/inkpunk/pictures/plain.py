"""Any of Pillow's images as plain 8-bit RGB, or RGBA: upright, and not larger than it need be."""

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np
from PIL import ExifTags, Image

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.paths import PATH

PAPER = "white"  # behind transparent pixels
KEPT_PIXELS = 1 << 24
"""Of a picture to start from, 4096 x 4096: more than a model draws, so that larger ones are averaged down to it."""
STRIP_PIXELS = 1 << 20  # that are turned into RGB at a time

TURNS = {  # by EXIF's orientation, as Pillow's exif_transpose has them; that makes copies that need not be
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPAQUE = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
_WORDS = {
    "F": "an image of floating-point pixels has no fixed white; save it with 8 or 16 bits first",
    "LAB": "its colours are LAB; save it as RGB first",
}


def plain_picture(image: Image.Image) -> Image.Image:
    """An image as 8-bit RGB: upright as its EXIF says, transparency laid over white, 16 bits scaled to 8.

    Of more than `KEPT_PIXELS` it is averaged down by a whole number. It is worked on in strips, so that beside the
    image as it is decoded there is no more than the result, 64 MB, and its like where it is turned. One that is
    plain already is returned as it is.

    Raises:
        PictureError: for floating-point or LAB pixels.
    """
    return image if _is_plain(image, "RGB") else _in_strips(image, "RGB", _rgb)


def picture_with_alpha(image: Image.Image) -> Image.Image:
    """An image as `plain_picture` has it, but as 8-bit RGBA where any of it is transparent.

    Raises:
        PictureError: as `plain_picture`.
    """
    if not (image.has_transparency_data or image.mode in _OPAQUE):
        return plain_picture(image)
    whole = image if _is_plain(image, "RGBA") else _in_strips(image, "RGBA", _rgba)
    return whole if whole.getchannel("A").getextrema() != (255, 255) else whole.convert("RGB")


def over_paper(image: Image.Image) -> Image.Image:
    """An image of RGB as it is, and one of RGBA laid over white."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image).convert("RGB")


def _is_plain(image: Image.Image, mode: str) -> bool:
    return type(image) is Image.Image and image.mode == mode and {*image.info} <= {PATH} and _fits(image)


def _in_strips(image: Image.Image, mode: str, turned: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if image.mode in _WORDS:
        raise PictureError(_WORDS[image.mode])
    image.load()
    factor = max(1, ceil(sqrt(image.width * image.height / KEPT_PIXELS)))
    rows = max(1, STRIP_PIXELS // (image.width * factor)) * factor
    size = ceil(image.width / factor), ceil(image.height / factor)
    whole = Image.new(mode, size)
    for top in range(0, image.height, rows):
        strip = turned(image.crop((0, top, image.width, min(top + rows, image.height))))
        whole.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    turn = _turn(image)
    return whole if turn is None else whole.transpose(turn)


def _fits(image: Image.Image) -> bool:
    return _turn(image) is None and image.width * image.height <= KEPT_PIXELS


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What sets it upright."""
    return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data and not image.mode.startswith("I"):
        return image.convert("RGB")
    return over_paper(_rgba(image))


def _rgba(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scaling to 8
        transparent: object = image.info.get("transparency")
        levels = np.asarray(image)
        scaled = Image.fromarray((levels.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGBA")
        if isinstance(transparent, int):
            scaled.putalpha(Image.fromarray((levels != transparent).astype(np.uint8) * 255))
        return scaled
    if image.mode in _OPAQUE:
        image = image.convert(_OPAQUE[image.mode])
    return image.convert("RGBA")
