"""The kinds of file that pictures are saved as, and what each can hold."""

from pathlib import Path

from inkpunk.pictures.facts import PictureError

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
"""By the name that a user gives, Pillow's."""
ENDINGS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
NAMES = "PNG, JPEG, WebP or AVIF"
QUALITY = 80
"""Of what is not lossless, 1 to 100: AUTOMATIC1111's, and the usual of WebP."""
LOSSLESS = 100  # a WebP of this quality is so; JPEG and AVIF are never quite
MOST_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 65_536}  # in pixels


def format_of(path: Path) -> str:
    """The format that a file's name asks for by its ending.

    Raises:
        PictureError: for an ending of none.
    """
    known = ENDINGS.get(path.suffix.lower())
    if known is None:
        raise PictureError(
            f"{path}: pictures are saved as {NAMES}, which hold their recipe; name a .png, .jpg, .webp or .avif file"
        )
    return known


def ending_of(form: str) -> str:
    """The ending of files of a format."""
    return next(ending for ending, its in ENDINGS.items() if its == form)


def check_sides(form: str, width: int, height: int) -> None:
    """Refuse a picture that is larger than a format can hold.

    Raises:
        PictureError: if a side is.
    """
    if max(width, height) > MOST_SIDE.get(form, max(width, height)):
        raise PictureError(
            f"{width} x {height} pixels: no side of a {FORMATS[form]} has more than {MOST_SIDE[form]:,}; save it "
            "as PNG"
        )


def check_writable(form: str, *, quality: int | None = None, alpha: bool = False) -> None:
    """Refuse, before any work, what could not be saved after it.

    Args:
        form: a name in `FORMATS`.
        quality: what is asked for; None for the usual.
        alpha: whether the picture has transparency.

    Raises:
        PictureError: for a format that is not known, or that this Pillow cannot write; for quality out of range, or
            of a PNG; for the transparency of a JPEG.
    """
    from PIL import features

    if form not in FORMATS:
        raise PictureError(f"format {form!r}: pictures are saved as {', '.join(FORMATS)}")
    if form in ("webp", "avif") and not features.check(form):
        raise PictureError(
            f"{FORMATS[form]}: this Pillow was built without it, so that none can be written; choose png or jpeg, or "
            "install a newer Pillow"
        )
    if quality is not None and form == "png":
        raise PictureError(
            f"quality {quality}: a PNG loses nothing; leave it out, or choose jpeg, webp or avif"
        )
    if quality is not None and not 1 <= quality <= 100:
        raise PictureError(f"quality {quality}: must lie between 1 and 100; {QUALITY} is usual")
    if alpha and form == "jpeg":
        raise PictureError("a JPEG holds no transparency; choose png, webp or avif, or do not keep alpha")
