"""Where pictures are saved to: refused before any work where that could not be done after it."""

import os
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from inkpunk.pictures.formats import ENDINGS

OTHER_PICTURES = (
    *(
        ".jpe",
        ".jif",
        ".jfif",
        ".apng",
        ".avifs",
        ".dib",
        ".jpx",
        ".jpf",
        ".pbm",
        ".pgm",
        ".pnm",
        ".pfm",
        ".qoi",
    ),
    *(".exr", ".hdr", ".dds", ".pcx", ".xcf", ".kra", ".ora", ".eps", ".ps", ".ai", ".raw", ".dng", ".icns"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".jxl",
    ".jp2",
    ".j2k",
    ".heic",
    ".heif",
    ".ppm",
    ".psd",
    ".svg",
    ".pdf",
    ".tga",
    ".ico",
)


def _listed(endings: Collection[str]) -> str:
    *others, last = (each for each in endings if each != ".jpeg")
    return f"{', '.join(others)} or {last}"


PICTURES = _listed(ENDINGS)


def is_picture_name(path: Path) -> bool:
    """Whether a path is named as a file that pictures are saved as."""
    return path.suffix.lower() in ENDINGS


def check_picture_path(
    out: Path,
    overwrite: bool | None = None,
    endings: Collection[str] = tuple(ENDINGS),
    what: str = "pictures",
) -> None:
    """Refuse, before any work, a file that could not be saved after it; None: the command has no --overwrite."""
    if out.suffix.lower() not in endings:
        raise click.ClickException(
            f"{out}: {what} are saved as {_listed(endings)}, which hold their recipe; name one"
        )
    with said_of(out):
        if out.is_dir():
            raise click.ClickException(f"{out}: is a folder; name a file in it")
        if (out.exists() or out.is_symlink()) and not overwrite:  # a link to nothing keeps its name
            way_out = "" if overwrite is None else ", or add --overwrite"
            raise click.ClickException(f"{out}: exists already; choose another name{way_out}")
        if not out.parent.is_dir():
            raise click.ClickException(f"{out}: the folder {out.parent} does not exist; make it first")
        check_can_write(out.parent)


def make_folder(option: str, folder: Path) -> None:
    """Make, before any work, the folder to save into."""
    if folder.suffix.lower() in (*ENDINGS, *OTHER_PICTURES):
        raise click.UsageError(
            f"{option} {folder}: pictures are saved as {PICTURES}, which hold their recipe; name a .png file or a "
            "folder"
        )
    with said_of(folder):
        if folder.exists() and not folder.is_dir():
            raise click.UsageError(f"{option} {folder}: neither a folder nor a {PICTURES} file")
        folder.mkdir(parents=True, exist_ok=True)
        check_can_write(folder)


@contextmanager
def said_of(path: Path) -> Generator[None]:
    """Say in one line why nothing can be saved at a path: its name is too long, it lies below a file, and so on."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # from Python 3.14 on `exists` does not tell of names that can be no file's
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise click.ClickException(
            f"{str(path)[:200]}: cannot be saved to: {reason}; choose another"
        ) from error


def check_can_write(folder: Path) -> None:
    """Refuse, before any work, a folder that may not be written to."""
    if not os.access(folder, os.W_OK):
        raise click.ClickException(f"{folder}: no permission to write there; choose another folder")
