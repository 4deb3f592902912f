"""The prompts of a gallery's pictures, read when they are first looked for."""

import json
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import read_others
from inkpunk.pictures.recipe import read_recipe

from inkpunk_studio.gallery.recipes import OURS
from inkpunk_studio.gallery.shelf import Hung

REMEMBERED = 20_000
"""Pictures whose prompts are kept in memory: some MB, as prompts are."""
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
    """No more of a recipe than its prompts: to check all of it takes ten times as long."""
    try:
        texts = (recipe := read_recipe(path)).texts
        if OURS in texts:
            told = json.loads(texts[OURS])
            prompts = told.get("prompt", ""), told.get("negative_prompt", "")
        else:
            values = read_others(recipe).values
            prompts = values.get("prompt", ""), values.get("negative", "")
    except (PictureError, ValueError, AttributeError, RecursionError):
        return ""
    return "\n".join(map(str, prompts))[:LONGEST].casefold()
