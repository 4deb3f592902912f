"""The recipe inside a picture, whoever drew it: what it says, without decoding its pixels."""

from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.kinds import START_BYTES, kind_of, readable_kinds
from inkpunk.pictures.regular import check_regular
from inkpunk.pictures.xmp import JPEG_XMP, read_packet

READERS: dict[
    bytes, type[ImageFile]
] = {  # by the first bytes; not Image.open, which also judges the size of pixels that nobody asks for
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"RIFF": WebPImageFile,
}
TEXTS = ("parameters", "inkpunk", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream")
"""Where AUTOMATIC1111, we, ComfyUI and InvokeAI keep theirs in a PNG."""
PLACELESS = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"\0\0\1\0": "ICO"}
"""Kinds that have no recipe, by their first bytes; `kind_of` knows more."""
COMMENT, BESIDE_IT = "Comment", ("Title", "Description", "Software", "Source")
"""Where NovelAI keeps its own; of other pictures, these say nothing of how they were drawn."""
TAGGED = ("prompt", "workflow")
"""What ComfyUI writes before a colon into texts of a WebP's EXIF, such as the camera's make."""
EXIF, USER_COMMENT = 0x8769, 0x9286


@dataclass(frozen=True)
class Recipe:
    """What a picture says of how it was drawn.

    Attributes:
        format: "PNG", "JPEG", "WEBP" or "AVIF".
        width, height: in pixels.
        texts: by the names that programs give them: "parameters" is AUTOMATIC1111's infotext, which we write, too;
            "inkpunk" our own.
    """

    format: str
    width: int
    height: int
    texts: dict[str, str]


def kind_in(start: bytes) -> str | None:
    """What kind of picture with a recipe begins so, by Pillow's name; None for any other."""
    if kind_of(start) == "AVIF":
        return "AVIF"
    return next((reader.format for magic, reader in READERS.items() if start.startswith(magic)), None)


def refuse_without_place(path: Path) -> None:
    """Refuse a picture of a kind that no program keeps recipes in; let all else pass.

    Raises:
        PictureError: for a GIF, a TIFF and so on.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except (OSError, ValueError):
        return
    if start[8:9] == b"{":  # safetensors, which begin with a number that may be anything
        return
    kind = kind_of(start) or next(
        (kind for magic, kind in PLACELESS.items() if start.startswith(magic)), None
    )
    if kind is not None:
        raise PictureError(
            f"{path}: a {kind} picture, which holds no recipe: they are kept in PNG, JPEG, WebP and AVIF files alone"
        )


def is_picture(path: Path) -> bool:
    """Whether a file begins as a PNG, a JPEG, a WebP or an AVIF does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return kind_in(file.read(START_BYTES)) is not None
    except OSError:
        return False


def read_recipe(path: Path) -> Recipe:
    """Read a picture's recipe; of one that has none, there are no texts.

    Raises:
        PictureError: for a file that is no such picture, or damaged.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(START_BYTES)
            if kind_in(start) is None:
                raise PictureError(f"{path}: neither PNG, JPEG, WebP nor AVIF")
            file.seek(0)
            with _reader(path, start)(file) as image:
                return Recipe(image.format or "", *image.size, _texts(image))
    except PictureError:
        raise
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a stranger's file: Pillow's parsers raise whatever they stumble over
        raise PictureError(f"{path}: a damaged picture ({error})") from error


def _reader(path: Path, start: bytes) -> type[ImageFile]:
    if kind_in(start) != "AVIF":
        return next(reader for magic, reader in READERS.items() if start.startswith(magic))
    if "AVIF" not in readable_kinds():
        raise PictureError(f"{path}: AVIF pictures cannot be read here: this Pillow was built without them")
    from PIL.AvifImagePlugin import AvifImageFile

    return AvifImageFile


def _texts(image: ImageFile) -> dict[str, str]:
    texts = {name: str(image.info[name]) for name in TEXTS if name in image.info}
    if str(image.info.get(COMMENT, "")).lstrip().startswith("{"):
        texts |= {name: str(image.info[name]) for name in (COMMENT, *BESIDE_IT) if name in image.info}
    # Of a PNG, its own getexif would decode the pixels to look behind them.
    exif = ImageFile.getexif(image)
    for name, text in _tagged(exif).items():
        texts.setdefault(name, text)
    if comment := _user_comment(exif):
        texts.setdefault("parameters", comment)
    for name, text in _xmp(image).items():
        texts.setdefault(name, text)
    return texts


def _tagged(exif: Exif) -> dict[str, str]:
    """ComfyUI's texts in the EXIF."""
    values = [value for value in dict(exif).values() if isinstance(value, str)]
    told = [(name.lower(), text) for name, _, text in (each.partition(":") for each in values)]
    return {name: text for name, text in told if name in TAGGED and text.lstrip().startswith("{")}


def _xmp(image: ImageFile) -> dict[str, str]:
    if isinstance(image, JpegImageFile):
        segments = [content for name, content in image.applist if name == "APP1"]
        main = next((each for each in segments if each.startswith(JPEG_XMP)), b"")
        return read_packet(main.removeprefix(JPEG_XMP), segments)
    xmp: object = image.info.get("xmp")
    return read_packet(xmp) if isinstance(xmp, bytes) else {}


def _user_comment(exif: Exif) -> str:
    """The text that AUTOMATIC1111 writes into a JPEG or a WebP."""
    comment: object = exif.get_ifd(EXIF).get(USER_COMMENT)
    if not isinstance(comment, bytes):
        return ""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        return _utf_16(text)
    return text.decode("utf-8", errors="replace").rstrip("\0")


def _utf_16(text: bytes) -> str:
    """Text whose order of bytes nothing says: the one in which it is an infotext, or has more of ASCII."""
    both = (text.decode(encoding, errors="replace") for encoding in ("utf-16-be", "utf-16-le"))
    return max(both, key=lambda read: ("Steps: " in read, sum(map(str.isascii, read))))
