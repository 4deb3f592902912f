"""Pictures to start from: any image file, made to fit."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from inkpunk.pictures.facts import PictureError

# Named one by one, because a file is a stranger and Pillow knows formats that are programs (EPS).
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_WHITE = "white"  # behind transparent pixels: paper


def load_image(path: str | Path, width: int, height: int) -> Image.Image:
    """Load an image file as 8-bit RGB of exactly `width` by `height` pixels.

    Turned upright as its EXIF says; transparency laid over white; scaled (Lanczos) to cover the wanted size,
    and what then juts out cut off evenly at both sides.

    Raises:
        PictureError: no such file, not an image, damaged, of an unknown kind, or above 179 million pixels.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns from half the size on at which it refuses. Refusing is enough.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                upright = ImageOps.exif_transpose(image)
                return ImageOps.fit(_rgb(upright), (width, height), Image.Resampling.LANCZOS)
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except (IsADirectoryError, PermissionError) as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{path}: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; scale it down first"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{path}: not an image of a known kind; use {', '.join(_FORMATS)}") from error
    except Exception as error:  # a stranger's file: decoders raise whatever they stumble over
        raise PictureError(
            f"{path}: damaged image ({error}); open and save it again in an image editor"
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scaling to 8
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise PictureError(
            "an image of floating-point pixels has no fixed white; save it with 8 or 16 bits first"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, _WHITE)
    return Image.alpha_composite(paper, image).convert("RGB")
