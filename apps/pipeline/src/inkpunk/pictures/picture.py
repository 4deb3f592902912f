"""A drawn picture: its pixels, the facts of how it was drawn, and the file that holds both."""

import re
import unicodedata
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from inkpunk.pictures.atomic import write_atomically
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.formats import ENDINGS, QUALITY, check_writable, ending_of, format_of
from inkpunk.pictures.lossy import file_of
from inkpunk.pictures.png_text import infotext, png_text

_SLUG_LENGTH = (
    48  # leaves every file name far below the 143 bytes of the narrowest file system in use (eCryptfs)
)
_NUMBERED = re.compile(rf"(\d{{4,}})-.*seed\d+({'|'.join(map(re.escape, ENDINGS))})")


class PictureExistsError(PictureError):
    """The file to save to exists already, and was left as it is."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn picture.

    Attributes:
        image: the pixels, 8-bit RGB; RGBA where the transparency of a picture to start from was kept.
        facts: all it takes to draw it again.
    """

    image: Image.Image
    facts: Facts

    @property
    def texts(self) -> tuple[str, str]:
        """Its recipe as AUTOMATIC1111 writes it, and as we do."""
        return infotext(self.facts), self.facts.to_json()

    def file(self, form: str = "png", quality: int | None = None) -> bytes:
        """The picture as a file, its facts inside.

        Args:
            form: "png", "jpeg", "webp" or "avif".
            quality: of all but PNG, 1 to 100: 80 if not given. A WebP of 100 is lossless.

        Raises:
            PictureError: for what the format cannot hold, or this Pillow not write.
        """
        check_writable(form, quality=quality, alpha=self.image.mode == "RGBA")
        if form == "png":
            return self.png()
        saved = f"{form} {QUALITY if quality is None else quality}"
        told = replace(self, facts=replace(self.facts, saved=saved))
        return file_of(self.image, form, *told.texts, quality)

    def png(self) -> bytes:
        """The picture as a PNG file, its facts inside."""
        buffer = BytesIO()
        self.image.save(buffer, format="png", pnginfo=png_text(self.facts))
        return buffer.getvalue()

    def save(self, path: str | Path, *, overwrite: bool = False, quality: int | None = None) -> Path:
        """Write the picture, whole or not at all, and return its path.

        The ending of the name says as what: .png, .jpg or .jpeg, .webp, .avif; `quality` is as of `file`.

        Raises:
            PictureExistsError: the file exists and `overwrite` is off.
            PictureError: the name ends otherwise; the folder does not exist, is not writable, or is full; as `file`.
        """
        path = Path(path)
        form = format_of(path)
        try:
            data = self.file(form, quality)
        except PictureError as error:
            raise PictureError(f"{path}: {error}") from error
        return write_picture(path, data, overwrite=overwrite)

    def save_into(self, folder: str | Path, *, format: str = "png", quality: int | None = None) -> Path:
        """Write the picture into a folder under the next free number, and return its path.

        Any number of processes may do so at once: whoever finds a name taken tries the next.

        Raises:
            PictureError: as `save` does.
        """
        check_writable(format, quality=quality)
        while True:
            try:
                return self.save(self.free_path(Path(folder), ending_of(format)), quality=quality)
            except PictureExistsError:
                continue

    def free_path(self, folder: Path, ending: str = ".png") -> Path:
        """A name for the picture that is free in the folder."""
        return next_free_path(folder, self.facts.prompt, self.facts.seed, ending)


def write_picture(path: Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write a file of a picture, whole or not at all, and return its path.

    Raises:
        PictureExistsError: the file exists and `overwrite` is off.
        PictureError: the folder does not exist, is not writable, or is full.
    """
    try:
        write_atomically(path, data, overwrite=overwrite)
    except FileExistsError as error:
        raise PictureExistsError(
            f"{path}: exists already; choose another name, or allow to overwrite"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"{path}: there is no folder {path.parent}; make it first") from error
    except PermissionError as error:
        raise PictureError(f"{path}: no permission to write there; choose another folder") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise PictureError(f"{path}: cannot be written: {reason}") from error
    return path


def next_free_path(folder: Path, prompt: str, seed: int, ending: str = ".png") -> Path:
    """A name such as `0001-nvinkpunk-red-dragon-seed42.png`, numbered past all such names in the folder.

    The name is lower-case ASCII letters, digits and hyphens for every prompt: every file system takes it.
    """
    taken = (_NUMBERED.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    number = 1 + max((int(match[1]) for match in taken if match), default=0)
    return folder / "-".join([f"{number:04}", *slug(prompt), f"seed{seed}{ending}"])


def slug(prompt: str) -> list[str]:
    """The prompt's first words, accents dropped, as many as fit; none for a prompt in another script."""
    ascii_only = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall("[a-z0-9]+", ascii_only))
    if len(words) > _SLUG_LENGTH:
        words = words[: _SLUG_LENGTH + 1].rpartition("-")[0] or words[:_SLUG_LENGTH]
    return [words] if words else []
