"""Which size a picture that starts from another has, and how the other is made to fit."""

from math import ceil, floor, log, sqrt

from PIL import Image, ImageOps

SIZE_MULTIPLE = 8  # the VAE's factor: one latent pixel is 8 x 8 image pixels
AREA_PLAY = 0.1  # by how much of it an area may be missed for the sake of a shape
TOLD = 0.0005  # of a side: less that is cut off is no word worth


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image (Lanczos) to cover a size, and cut off evenly at both sides what juts out."""
    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


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
