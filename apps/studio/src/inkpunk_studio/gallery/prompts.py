"""The prompts of a gallery's pictures, read when they are first looked for."""

import json
from collections import OrderedDict
from os import SEEK_CUR
from pathlib import Path
from threading import Lock

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import read_others
from inkpunk.pictures.recipe import read_recipe

from inkpunk_studio.gallery.recipes import OURS
from inkpunk_studio.gallery.shelf import Hung

REMEMBERED = 20_000
"""Pictures whose prompts are kept in memory: some MB, as prompts are."""
PNG, TEXT, PIXELS, CHECKSUM = b"\x89PNG\r\n\x1a\n", b"tEXt", b"IDAT", 4
"""How a PNG begins, what chunks of Latin-1 and of pixels are called, and the bytes that follow each chunk."""
MOST_TEXT = 2**20
LONGEST = 2000
"""Characters of a prompt that are kept to be searched."""


class Prompts:
    """The prompts of pictures, read once for each state of a file; thread-safe."""

    def __init__(self, most: int = REMEMBERED) -> None:
        """Begin with none.

        Args:
            most: how many are kept.
        """
        self._most = most
        self._kept: OrderedDict[tuple[Path, int, int], str] = OrderedDict()
        self._lock = Lock()

    def of(self, hung: Hung) -> str:
        """A picture's prompt and negative prompt, in lower case; "" where it has none, or cannot be read."""
        key = hung.path, hung.changed, hung.bytes
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        told = _searched(hung.path)
        with self._lock:
            self._kept[key] = told
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return told

    def __len__(self) -> int:
        return len(self._kept)


def _searched(path: Path) -> str:
    """No more of a recipe than its prompts: to check all of it takes several times as long."""
    try:
        prompts = _prompts(path)
    except (PictureError, OSError, ValueError, AttributeError, RecursionError):
        return ""
    return "\n".join(map(str, prompts))[:LONGEST].casefold()


def _prompts(path: Path) -> tuple[object, object]:
    ours: bytes | str | None = _ours_in_png(path)
    if ours is None:
        recipe = read_recipe(path)
        ours = recipe.texts.get(OURS)
        if ours is None:
            values = read_others(recipe).values
            return values.get("prompt", ""), values.get("negative", "")
    told = json.loads(ours)
    return told.get("prompt", ""), told.get("negative_prompt", "")


def _ours_in_png(path: Path) -> bytes | None:
    """Our own text in a PNG, which stands before its pixels; None where there is none."""
    with path.open("rb") as file:
        if file.read(len(PNG)) != PNG:
            return None
        while len(head := file.read(8)) == 8 and head[4:] != PIXELS:
            size = int.from_bytes(head[:4], "big")
            if head[4:] == TEXT and size < MOST_TEXT:
                name, _, text = file.read(size).partition(b"\0")
                if name == OURS.encode():
                    return text
                size = 0
            file.seek(size + CHECKSUM, SEEK_CUR)
    return None
