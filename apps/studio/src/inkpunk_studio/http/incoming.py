"""Pictures that come with a request: in base64, as data URIs, as files, and by address where that is allowed."""

import base64
import binascii
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from threading import Lock

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.reading import with_alpha
from PIL import Image, UnidentifiedImageError

from inkpunk_studio.http.fetching import FetchError, fetch
from inkpunk_studio.http.outgoing import png_of
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import Attachment, within

MOST_PIXELS = 50_000_000
"""Of a picture that comes with a request, a good phone's: 200 MB once it is decoded."""
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")  # what browsers and other clients send
DATA_URI = re.compile(r"data:[^,;]{0,100}(?:;[^,;]{0,100}){0,8}?;base64,", re.IGNORECASE)
URL = re.compile(r"https?://", re.IGNORECASE)

_one_at_a_time = Lock()  # many large pictures at once would take all memory


class IncomingError(ValueError):
    """A picture that cannot be taken; the message says which, why, and what to send instead."""


@dataclass(frozen=True, eq=False)
class Incoming:
    """A picture that came with a request, and can be read.

    Attributes:
        data: its file, as it came.
        image: what it shows: upright, 8-bit RGB, or RGBA where any of it is transparent; a very large one is averaged
            down.
    """

    data: bytes
    image: Image.Image

    @cached_property
    def attachment(self) -> Attachment:
        """As it goes with a job."""
        return Attachment(self.data)

    @classmethod
    def of(cls, image: Image.Image) -> "Incoming":
        """A picture that was made of one that came."""
        return cls(png_of(image), image)

    def within(self, most_pixels: int) -> "Incoming":
        """The picture itself, or where it has more pixels than are drawn, a smaller one of its shape."""
        image = within(self.image, most_pixels)
        return self if image is self.image else self.of(image)


def read_text(name: str, text: str, settings: Settings) -> Incoming:
    """Read a picture that stands in a request's text. It blocks while it fetches or decodes.

    Args:
        name: the field that it stands in, for messages.
        text: base64, bare or as a data URI; or the address of a picture, where the settings allow to fetch it.
        settings: what the server may do.

    Raises:
        IncomingError: for anything else, and for what is too large, damaged, or not allowed to be fetched.
    """
    text = text.strip()
    if URL.match(text):
        if not settings.fetch_urls:
            raise IncomingError(
                f"{name}: pictures are not fetched from addresses here; send it in base64, or start the studio with "
                "--fetch-urls"
            )
        try:
            return read_bytes(name, fetch(text, most=settings.most_body))
        except FetchError as error:
            raise IncomingError(f"{name}: {error}") from error
    return read_bytes(name, _decoded(name, text))


def read_bytes(name: str, data: bytes) -> Incoming:
    """Read a picture from its file's bytes. It blocks while it decodes.

    Its kind and size are looked at before anything is decoded.

    Raises:
        IncomingError: for what is no picture, is damaged, or too large.
    """
    if not data:
        raise IncomingError(f"{name}: is empty; send a picture")
    try:
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels warns; ours refuses
            with Image.open(BytesIO(data), formats=KINDS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise IncomingError(
                        f"{name}: too large, {width} x {height} pixels; at most {MOST_PIXELS:,} are read"
                    )
                return Incoming(data, with_alpha(image))
    except IncomingError:
        raise
    except Image.DecompressionBombError as error:
        raise IncomingError(f"{name}: too large; at most {MOST_PIXELS:,} pixels are read") from error
    except UnidentifiedImageError as error:
        raise IncomingError(f"{name}: is no picture that is read here; send {', '.join(KINDS)}") from error
    except PictureError as error:
        raise IncomingError(f"{name}: {error}") from error
    except Exception as error:  # a stranger's file: decoders raise whatever they stumble over
        raise IncomingError(f"{name}: a damaged picture; save it again and send that") from error


def _decoded(name: str, text: str) -> bytes:
    data_uri = DATA_URI.match(text)
    if text[:5].lower() == "data:" and not data_uri:
        raise IncomingError(f"{name}: a data URI that is not base64; send data:image/png;base64,...")
    plain = "".join((text[data_uri.end() :] if data_uri else text).split())
    plain = plain.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise IncomingError(f"{name}: is neither base64 nor a data URI; no path or name is read") from error
