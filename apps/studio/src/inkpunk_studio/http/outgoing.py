"""Pictures that go out: files as they are, or in base64, and images as PNG."""

import base64
from io import BytesIO
from pathlib import Path

from anyio import to_thread
from fastapi import Response
from inkpunk.pictures.formats import ENDINGS, FORMATS
from PIL import Image

MEDIA = tuple(f"image/{form}" for form in FORMATS)
"""The kinds of file that are given out."""
QUICK, USUAL = 1, 6  # levels of compression: of what is looked at once, and of what is kept


def png_of(image: Image.Image, level: int = QUICK) -> bytes:
    """An image as a PNG file. It takes its time."""
    buffer = BytesIO()
    image.save(buffer, format="png", compress_level=level)
    return buffer.getvalue()


def base64_of(data: bytes) -> str:
    """A file in base64, without a `data:` head."""
    return base64.b64encode(data).decode("ascii")


async def file_of(path: Path) -> Response:
    """A picture's file as an answer.

    Raises:
        OSError: it is gone.
    """
    data = await to_thread.run_sync(path.read_bytes)
    return Response(data, media_type=f"image/{ENDINGS[path.suffix.lower()]}")
