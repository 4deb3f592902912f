"""Which size a picture that starts from another has, and how the other is made to fit."""

from math import ceil, floor, log, sqrt

import numpy as np
from PIL import Image, ImageFilter, ImageOps

SIZE_MULTIPLE = 8  # the VAE's factor: one latent pixel is 8 x 8 image pixels
AREA_PLAY = 0.1  # by how much of it an area may be missed for the sake of a shape
TOLD = 0.0005  # of a side: less that is cut off is no word worth
ROUNDING = 1e-9
SOFTENING = 4  # how many times wider the widest margin is than what it is blurred by

RESIZES = ("fill", "fit", "stretch", "pad")
"""How a picture of another shape is brought to a size: see `fitted`."""
THEIRS = {"crop and resize": "fill", "just resize": "stretch", "resize and fill": "pad"}
"""What AUTOMATIC1111 calls them."""


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image (Lanczos) to cover a size, and cut off evenly at both sides what juts out."""
    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def find_resize(name: str) -> str:
    """Our name of a way to resize, by ours or AUTOMATIC1111's, in any case.

    Raises:
        ValueError: for any other.
    """
    ours = THEIRS.get(name.lower(), name.lower())
    if ours not in RESIZES:
        raise ValueError(f"resize {name!r}: there is no such way; use {', '.join(RESIZES)}")
    return ours


def fitted(
    image: Image.Image,
    size: tuple[int, int],
    resize: str = "fill",
    margin: int | None = None,
    how: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """An image of a size, brought to it in one of these ways.

    Args:
        image: RGB, or grey as masks are.
        size: width and height.
        resize: "fill" covers the size, and cuts off evenly at both sides what juts out; "stretch" keeps no shape, and
            "fit" nearly so, as its size is that of `size_within`; "pad" has the whole image in the middle, and what
            it leaves is filled from its edges, in RGB blurred.
        margin: the level that "pad" fills with instead: of a mask, say.
        how: pixels are resampled.
    """
    if image.size == size:
        return image
    if resize in ("fit", "stretch"):
        return image.resize(size, how)
    return _padded(image, size, margin, how) if resize == "pad" else ImageOps.fit(image, size, how)


def _padded(
    image: Image.Image, size: tuple[int, int], margin: int | None, how: Image.Resampling
) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    taken = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    inner = image.resize(taken, how)
    left, top = (size[0] - inner.width) // 2, (size[1] - inner.height) // 2
    right, below = size[0] - inner.width - left, size[1] - inner.height - top
    if margin is not None:
        whole = Image.new(inner.mode, size, (margin,) * len(inner.getbands()))
    else:
        pixels = np.asarray(inner)
        depth = ((0, 0),) * (pixels.ndim - 2)
        whole = Image.fromarray(np.pad(pixels, ((top, below), (left, right), *depth), mode="edge"))
        if image.mode == "RGB":  # an edge drawn out is streaks, of which a model makes stripes
            whole = whole.filter(ImageFilter.GaussianBlur(max(left, right, top, below) / SOFTENING))
    whole.paste(inner, (left, top))
    return whole


def drawn_size(
    picture: tuple[int, int], side: int, width: int | None, height: int | None, *, resize: str = "fill"
) -> tuple[int, int]:
    """The width and height that a picture is drawn anew in: of `size_within` if it is to fit, else of `size_like`."""
    if resize == "fit" and width is not None and height is not None:
        return size_within(picture, width, height)
    return size_like(picture, side, width, height)


def size_within(picture: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The size within another, itself of multiples of 8, that a picture takes of it: one side up to the next of such.

    Within what it returns, it returns the same.
    """
    scale = min(width / picture[0], height / picture[1])
    across, down = (ceil(side * scale / SIZE_MULTIPLE - ROUNDING) * SIZE_MULTIPLE for side in picture)
    return max(across, SIZE_MULTIPLE), max(down, SIZE_MULTIPLE)


def size_like(
    picture: tuple[int, int], side: int, width: int | None = None, height: int | None = None
) -> tuple[int, int]:
    """The width and height, in multiples of 8, that a picture of this size is drawn anew in.

    Args:
        picture: its width and height.
        side: of a square, whose area the size has, to a tenth; of such sizes the one nearest to the picture's shape.
        width, height: what is asked for; if one of them is, the other goes by the shape.
    """
    shape = picture[0] / picture[1]
    if width is not None and height is not None:
        return width, height
    if width is not None:
        return width, _multiple(width / shape)
    if height is not None:
        return _multiple(height * shape), height
    if shape >= 1:
        return _wide(shape, side)
    width, height = _wide(1 / shape, side)
    return height, width


def cut_off(picture: tuple[int, int], size: tuple[int, int]) -> str:
    """What `fit` cuts off, in words, such as "2.1 % of its width"; none for nothing."""
    had, has = picture[0] / picture[1], size[0] / size[1]
    lost = 1 - min(had, has) / max(had, has)
    return f"{lost:.1%} of its {'width' if had > has else 'height'}" if lost >= TOLD else ""


def resized_in_words(picture: tuple[int, int], size: tuple[int, int], resize: str) -> str:
    """What `fitted` does to a picture's shape, such as "2.1% of its width is cut off"; none for nothing."""
    had, has = picture[0] / picture[1], size[0] / size[1]
    if max(had, has) / min(had, has) - 1 < TOLD:
        return ""
    if resize in ("fit", "stretch"):
        return (
            f"stretched to {max(had, has) / min(had, has):.3g} times its {'width' if has > had else 'height'}"
        )
    if resize == "pad":
        sides, blank = ("left and right", had / has) if has > had else ("above and below", has / had)
        return f"{1 - blank:.1%} is added {sides}, filled from its edges"
    cut = cut_off(picture, size)
    return f"{cut} is cut off, evenly at both sides" if cut else ""


def _multiple(length: float) -> int:
    return max(round(length / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE


def _wide(shape: float, side: int) -> tuple[int, int]:
    area = side * side
    ideal = side / sqrt(shape)
    lowest = max(floor(ideal * 0.8 / SIZE_MULTIPLE), 1)
    sizes = [(side, side)]
    for height in range(lowest, max(ceil(ideal * 1.25 / SIZE_MULTIPLE), lowest) + 1):
        # in multiples: the width of the shape, as far as the area lets it
        least = ceil((1 - AREA_PLAY) * area / height / SIZE_MULTIPLE**2)
        most = floor((1 + AREA_PLAY) * area / height / SIZE_MULTIPLE**2)
        if least <= most:
            width = min(max(round(height * shape), least), most)
            sizes.append((width * SIZE_MULTIPLE, height * SIZE_MULTIPLE))
    return min(
        sizes,
        key=lambda size: (round(abs(log(size[0] / size[1] / shape)), 9), abs(log(size[0] * size[1] / area))),
    )
