"""What kind of picture a file is, by its first bytes: what is refused can so be called by its name."""

import struct
from typing import BinaryIO

from PIL import features

# Named one by one, because a file is a stranger and Pillow knows formats that are programs (EPS). TGA is not among
# them: it has no first bytes of its own, so that any file might be taken for one.
KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # what a Pillow may be built without
TGA_ENDINGS = (".tga", ".icb", ".vda", ".vst")
START_BYTES = 64

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"hei": "HEIC", b"hev": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}
_STARTS = {
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop (PSD)",
    b"%PDF": "PDF",
    b"%!PS": "PostScript (EPS)",
    b"<svg": "SVG",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance (HDR)",
}


def readable_kinds() -> list[str]:
    """The kinds that this machine's Pillow can read."""
    return [kind for kind in (*KINDS, "TGA") if kind not in OPTIONAL or features.check(OPTIONAL[kind])]


def kind_of(start: bytes) -> str | None:
    """What kind of picture it is that begins so, of those that Pillow may be unable to read; None for any other."""
    if start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        # the major brand, a version that says nothing, then those it is compatible with: "mif1" is but a container
        end = min(int.from_bytes(start[:4], "big"), len(start))
        brands = [start[8:12], *(start[at : at + 4] for at in range(16, end, 4))]
        names = [name for brand in brands for known, name in _BRANDS.items() if brand.startswith(known)]
        return min(names, default=None, key=["AVIF", "HEIC", "HEIF"].index)
    return next((name for known, name in _STARTS.items() if start.startswith(known)), None)


def icon_sizes(file: BinaryIO) -> list[tuple[int, int]]:
    """The sizes of the pictures in an ICO, as they say themselves: Pillow decodes one before it can be asked.

    The list at the file's start has a byte for each side, which a picture need not keep to.
    """
    file.seek(0)
    count = int.from_bytes(file.read(6)[4:], "little")
    places = [int.from_bytes(file.read(16)[12:], "little") for _ in range(count)]
    sizes = list[tuple[int, int]]()
    for place in places:
        file.seek(place)
        head = file.read(24)
        if len(head) < 24:
            continue
        if head.startswith(b"\x89PNG"):
            sizes.append(struct.unpack(">II", head[16:24]))
        else:  # a bitmap, which counts its mask as rows
            width, height = struct.unpack("<ii", head[4:12])
            sizes.append((abs(width), abs(height) // 2))
    return sizes


def is_icon(start: bytes) -> bool:
    """Whether a file begins as an ICO does."""
    return start.startswith(b"\0\0\1\0")
