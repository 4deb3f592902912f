"""A folder of pictures and captions, as what is to be learned; whatever is wrong with it is told at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.reading import read_picture
from inkpunk.training.buckets import Size, bucket
from inkpunk.training.errors import TrainingError

# Those that cannot be read, too: one of them is a mistake that should be told, and not passed over.
PICTURES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif"),
    *(".jp2", ".j2k", ".ico", ".tga", ".heic", ".heif", ".jxl", ".psd", ".svg", ".exr", ".qoi"),
)
CAPTION = ".txt"
MOST_CAPTION = 10_000  # bytes; the text encoder reads about 75 words
LEAST_PICTURES = 3  # of a subject, with which DreamBooth works; a style wants more
MOST_ENLARGED = 1.25  # what is enlarged by more teaches blur
SHOWN = 20


@dataclass(frozen=True)
class Example:
    """A picture to learn from.

    Attributes:
        path: its file.
        caption: what it shows, in words.
        size: its width and height in pixels, as it is read: upright.
    """

    path: Path
    caption: str
    size: Size

    def picture(self) -> Image.Image:
        """Its pixels.

        Raises:
            PictureError: if they cannot be read any more.
        """
        return read_picture(self.path)


def read_examples(folder: Path, *, caption: str | None = None, trigger: str | None = None) -> list[Example]:
    """Read every picture of a folder, and its caption: the text beside it, in a file of the same name with `.txt`.

    Args:
        folder: hidden files in it, and those that are no pictures by their ending, are passed over.
        caption: of the pictures that have none of their own.
        trigger: a word that is put in front of captions that lack it.

    Returns:
        the pictures, in the order of their names.

    Raises:
        TrainingError: naming at once all that cannot be read, and what has no caption; or for too few.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    paths = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )
    if not paths:
        raise TrainingError(f"{folder}: no pictures in it; give a folder of 5 to 50")
    examples, problems = list[Example](), list[str]()
    for path in paths:
        try:
            examples.append(_example(path, caption, trigger))
        except (PictureError, TrainingError, OSError) as error:
            problems.append(str(error))
    _refuse(folder, problems)
    if len(examples) < LEAST_PICTURES:
        few = "1 picture" if len(examples) == 1 else f"{len(examples)} pictures"
        raise TrainingError(
            f"{folder}: {few} in it, from which nothing general can be learned; give 5 to 50 "
            f"(at least {LEAST_PICTURES})"
        )
    return examples


def refuse_small(folder: Path, examples: Sequence[Example], side: int) -> None:
    """Let only pictures pass that need not be enlarged much to be learned in the area of a square of `side` pixels.

    Raises:
        TrainingError: naming all others.
    """
    _refuse(folder, list(_too_small(examples, side)))


def _too_small(examples: Sequence[Example], side: int) -> Iterator[str]:
    for example in examples:
        width, height = example.size
        wide, high = bucket(example.size, side)
        if max(wide / width, high / height) > MOST_ENLARGED:
            yield (
                f"{example.path}: too small, {width} x {height} for {wide} x {high}: leave it out, or lower --size"
            )


def _refuse(folder: Path, problems: Sequence[str]) -> None:
    if not problems:
        return
    if len(problems) == 1:
        raise TrainingError(problems[0])
    lines = "".join(f"\n  {problem}" for problem in problems[:SHOWN])
    more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise TrainingError(f"{folder}: {len(problems)} pictures cannot be learned from:{lines}{more}")


def _example(path: Path, caption: str | None, trigger: str | None) -> Example:
    text = _own_caption(path.with_suffix(CAPTION)) or _one_line(caption or "")
    if not text:
        raise TrainingError(f"{path}: no caption: write {path.stem}{CAPTION} beside it, or give --caption")
    return Example(path, _with_trigger(text, trigger), read_picture(path).size)


def _own_caption(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        data = file.read(MOST_CAPTION + 1)
    if len(data) > MOST_CAPTION:
        raise TrainingError(f"{path}: longer than {MOST_CAPTION:,} bytes, which is no caption")
    try:
        return _one_line(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}: not UTF-8 text; save it as such") from error


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _with_trigger(caption: str, trigger: str | None) -> str:
    if not trigger or re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return f"{trigger}, {caption}"
