"""Pictures to start from: any image file, or any of Pillow's images, as plain RGB or RGBA; and made to fit."""

import re
import warnings
from collections.abc import Callable
from math import ceil
from pathlib import Path

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.fitting import fit
from inkpunk.pictures.kinds import (
    KINDS,
    START_BYTES,
    TGA_ENDINGS,
    icon_sizes,
    is_icon,
    kind_of,
    readable_kinds,
)
from inkpunk.pictures.plain import picture_with_alpha, plain_picture

MOST_PIXELS = 64_000_000
"""Of a picture that is decoded: 8000 x 8000, which takes 256 MB."""
HEAVY = ("WEBP", "JPEG2000")  # whose decoders take several times the memory: half as many
SHRINKS = (2, 4, 8)  # what a JPEG can be divided by while it is decoded
MOST_OF_A_TILE = MOST_PIXELS // 8  # of a TIFF, of up to 8 bytes each; usual are 256 x 256
JPEG = b"\xff\xd8\xff"


def load_image(path: str | Path, width: int, height: int) -> Image.Image:
    """Load an image file as 8-bit RGB of exactly `width` by `height` pixels.

    As `read_picture` reads it; scaled (Lanczos) to cover the wanted size, and what then juts out cut off evenly at
    both sides.

    Raises:
        PictureError: as `read_picture`.
    """
    return fit(read_picture(path), (width, height))


def read_picture(path: str | Path) -> Image.Image:
    """Read an image file as 8-bit RGB: upright as its EXIF says, transparency laid over white.

    The size is looked at before anything is decoded: above `MOST_PIXELS` a JPEG is decoded at a half, a quarter or an
    eighth, and all else refused, of a WebP or JPEG 2000 above half of that. So Pillow holds 256 MB at most, decoders
    that work on the whole about as much again, and what is returned has 64 MB at most (see `plain_picture`): about
    600 MB at the peak.

    Raises:
        PictureError: no such file, not an image, damaged, of a kind that cannot be read, or too large.
    """
    return _read(path, plain)


def read_with_alpha(path: str | Path) -> Image.Image:
    """Read an image file as `read_picture` does, but as 8-bit RGBA where any of it is transparent.

    Raises:
        PictureError: as `read_picture`.
    """
    return _read(path, with_alpha)


def plain(image: Image.Image) -> Image.Image:
    """Any of Pillow's images as `read_picture` returns a file's.

    Raises:
        PictureError: for one that is too large, cannot be decoded, or has pixels without a fixed white.
    """
    return _decoded(image, plain_picture)


def with_alpha(image: Image.Image) -> Image.Image:
    """Any of Pillow's images as `read_with_alpha` returns a file's.

    Raises:
        PictureError: as `plain`.
    """
    return _decoded(image, picture_with_alpha)


def _read(path: str | Path, as_kept: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns of its own limit, and of icons that are not of the size that they are listed with.
            warnings.simplefilter("ignore")
            with _opened(Path(path)) as image:
                if isinstance(image, JpegImageFile):
                    _shrink(image)
                if isinstance(image, TiffImageFile):
                    _refuse_large_tiles(image)
                return as_kept(image)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except Exception as error:  # a stranger's file: decoders raise whatever they stumble over
        raise PictureError(f"{path}: {_in_words(error)}") from error


def _decoded(image: Image.Image, as_kept: Callable[[Image.Image], Image.Image]) -> Image.Image:
    refuse_too_large(*image.size, getattr(image, "format", None))
    try:
        return as_kept(image)
    except PictureError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over
        raise PictureError(_in_words(error)) from error


def refuse_too_large(width: int, height: int, kind: str | None = None) -> None:
    """Refuse by its size what would take too much memory to decode.

    Raises:
        PictureError: above `MOST_PIXELS`, or half of it for kinds whose decoders take more.
    """
    most = MOST_PIXELS // 2 if kind in HEAVY else MOST_PIXELS
    if width * height > most:
        of_these = f" of a {kind}" if kind in HEAVY else ""
        raise PictureError(
            f"too large, {width} x {height} pixels: at most {most:,}{of_these} are read; scale it down first"
        )


def _opened(path: Path) -> ImageFile.ImageFile:
    if path.exists() and not path.is_file():  # opening a pipe waits for whoever writes to it
        raise PictureError(f"a {'folder' if path.is_dir() else 'pipe or device'}; give a picture's file")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        if is_icon(start):
            for size in icon_sizes(file):
                refuse_too_large(*size)
    if start.startswith(JPEG):  # not by Image.open, which refuses by a size that need not be decoded
        return JpegImageFile(path)
    try:
        return Image.open(path, formats=KINDS)
    except Image.UnidentifiedImageError:
        kind = kind_of(start)
        if kind is None and path.suffix.lower() in TGA_ENDINGS:
            return Image.open(path, formats=("TGA",))
        if kind is None:
            raise
        if kind in readable_kinds():
            raise PictureError(f"damaged image ({kind}); open and save it again in an image editor") from None
        raise PictureError(f"{kind} pictures cannot be read here; save it as PNG or JPEG first") from None


def _shrink(image: JpegImageFile) -> None:
    """Have a JPEG decoded smaller that is too large as it is.

    Raises:
        PictureError: for what is too large at an eighth; or has several scans, which are held whole at any size.
    """
    width, height = image.size
    if width * height <= MOST_PIXELS:
        return
    if not _has_several_scans(image):
        for divisor in SHRINKS:
            if ceil(width / divisor) * ceil(height / divisor) <= MOST_PIXELS:
                image.draft(None, (width // divisor, height // divisor))  # works but once
                return
    refuse_too_large(width, height)


def _has_several_scans(image: JpegImageFile) -> bool:
    if "progressive" in image.info:
        return True
    assert image.fp is not None  # it was opened, and has been read up to its first scan
    here = image.fp.tell()
    header = image.fp.read(3)  # of the scan: a length, then how many of the image's channels are in it
    image.fp.seek(here)
    return len(header) < 3 or header[2] < image.layers


def _refuse_large_tiles(image: TiffImageFile) -> None:
    """Refuse tiles that are far larger than the picture need be: each is decoded whole.

    Raises:
        PictureError: if it has such.
    """
    width, height = (int(image.tag_v2.get(tag, 0)) for tag in (TILEWIDTH, TILELENGTH))
    if width * height > MOST_OF_A_TILE:
        raise PictureError(f"its tiles are too large, {width} x {height} pixels; save it as PNG first")


def _in_words(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        count = f", {int(pixels[1]):,} pixels" if pixels else ""
        limit = min(MOST_PIXELS, 2 * (Image.MAX_IMAGE_PIXELS or MOST_PIXELS))
        return f"too large{count}: at most {limit:,} are read; scale it down first"
    if (
        isinstance(error, OSError) and error.strerror
    ):  # not the decoder's: there is a folder, or no permission
        return f"cannot be read: {error.strerror}"
    if "null" in str(error) and isinstance(error, ValueError):  # a NUL in the name
        return f"cannot be read: {error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it; scale it down first"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not an image of a known kind; use {', '.join(readable_kinds())}"
    if "not available" in str(error):  # a decoder that this Pillow was built without
        return f"cannot be read here ({error}); save it as PNG or JPEG first"
    return f"damaged image ({error}); open and save it again in an image editor"
