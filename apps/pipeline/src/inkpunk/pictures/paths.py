"""Where a picture was read from, which a request keeps beside its pixels for the recipe."""

from pathlib import Path

from PIL import Image

PATH = "inkpunk.path"
"""In `Image.info`, which Pillow's own operations carry on."""


def noted(image: Image.Image, given: Image.Image | str | Path) -> Image.Image:
    """An image, with the path that it was given by noted on it; or of an image, what is noted on that."""
    path = path_of(given) if isinstance(given, Image.Image) else str(given)
    if path is not None:
        image.info[PATH] = path
    return image


def path_of(image: Image.Image | None) -> str | None:
    """The path that an image was given by; None for one that was none."""
    path: object = image and image.info.get(PATH)
    return path if isinstance(path, str) else None
