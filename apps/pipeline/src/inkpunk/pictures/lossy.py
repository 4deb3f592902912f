"""JPEG, WebP and AVIF files with a recipe inside, as EXIF and as XMP."""

import struct
from io import BytesIO

from PIL import Image

from inkpunk.pictures.formats import FORMATS, LOSSLESS, QUALITY, check_sides, check_writable
from inkpunk.pictures.recipe import EXIF, USER_COMMENT
from inkpunk.pictures.xmp import jpeg_segments, packet

MOST_OF_A_SEGMENT = 65_533
LONG, UNDEFINED = 4, 7  # TIFF's types
FIRST, SECOND, BEHIND = 8, 26, 44  # where its directories stand, and what comes behind them
JPEG_START = 2  # bytes, before the first segment


def file_of(image: Image.Image, form: str, infotext: str, facts: str, quality: int | None = None) -> bytes:
    """A file of an image with its recipe, which AUTOMATIC1111's readers find in EXIF's UserComment.

    A JPEG's EXIF has 64 KB at most; a text of more, some 32,000 characters, stands in XMP alone, which has no limit.

    Args:
        image: RGB or RGBA.
        form: "jpeg", "webp" or "avif".
        infotext: the recipe as AUTOMATIC1111 writes it.
        facts: the recipe as we do.
        quality: 1 to 100; a WebP of 100 is lossless. None is `QUALITY`.

    Raises:
        PictureError: for what the format cannot hold.
    """
    check_writable(form, quality=quality, alpha=image.mode == "RGBA")
    check_sides(form, *image.size)
    exif = exif_of(infotext)
    options: dict[str, object] = {"quality": QUALITY if quality is None else quality}
    if form == "webp" and quality == LOSSLESS:
        options |= {"lossless": True, "exact": True}
    if form != "jpeg":
        options |= {"exif": exif, "xmp": packet(infotext, facts)}
    buffer = BytesIO()
    image.save(buffer, FORMATS[form], **options)
    data = buffer.getvalue()
    if form != "jpeg":
        return data
    segments = [each for each in (exif,) if len(each) <= MOST_OF_A_SEGMENT] + jpeg_segments(infotext, facts)
    behind = JPEG_START + 2 + int.from_bytes(data[4:6], "big")  # JFIF's own segment, which comes first
    inside = b"".join(b"\xff\xe1" + (len(each) + 2).to_bytes(2, "big") + each for each in segments)
    return data[:behind] + inside + data[behind:]


def exif_of(infotext: str) -> bytes:
    """EXIF with a user's comment, as TIFF of two directories of an entry each.

    By hand, as Pillow would write it as numbers (BYTE), which AUTOMATIC1111's reader, piexif, stumbles over.
    """
    comment = b"UNICODE\0" + infotext.encode("utf-16-be")
    first = struct.pack(">HHHIII", 1, EXIF, LONG, 1, SECOND, 0)
    second = struct.pack(">HHHIII", 1, USER_COMMENT, UNDEFINED, len(comment), BEHIND, 0)
    return b"Exif\0\0" + b"MM\0*" + struct.pack(">I", FIRST) + first + second + comment
