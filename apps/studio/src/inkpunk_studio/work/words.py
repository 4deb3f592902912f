"""Learned words (textual inversion embeddings) that prompts may use, each by its name."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.folders import weights_in
from inkpunk_studio.work.inspecting import Inspected, inspect, state_of


@dataclass(frozen=True)
class Word:
    """A learned word.

    Attributes:
        name: what prompts call it.
        path: its file.
        state: what changes when the file does.
        inspected: what the file is.
    """

    name: str
    path: Path
    state: tuple[int, int]
    inspected: Inspected


class Words:
    """The learned words that are there: those that the studio was started with, and those in its folders of models.

    Of two of one name the first counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def fitting(self, model: Inspected) -> tuple[Word, ...]:
        """Those that prompts for a model may use; the folders are looked through anew each time."""
        return _first(each for each in self._found() if each.inspected.fits(model))

    def other(self, model: Inspected) -> tuple[Word, ...]:
        """Those that were made for another model."""
        fitting = {each.name for each in self.fitting(model)}
        return _first(each for each in self._found() if each.name not in fitting)

    def _found(self) -> Iterator[Word]:
        for told in self._settings.choice.embeddings:
            path = Path(told).expanduser()
            if path.is_dir():
                yield from _within(path)
            else:
                # by whoever started the studio: what is wrong with it is told when it is to be read
                found = inspect(path)
                yield _word(path, found if found.kind == "embedding" else Inspected("embedding"))
        for folder in self._settings.models:
            yield from _within(folder)


def _first(words: Iterator[Word]) -> tuple[Word, ...]:
    """The first of each name."""
    seen = dict[str, Word]()
    for each in words:
        seen.setdefault(each.name, each)
    return tuple(seen.values())


def _within(folder: Path) -> Iterator[Word]:
    for _, path, inspected in weights_in(folder):
        if inspected.kind == "embedding":
            yield _word(path, inspected)


def _word(path: Path, inspected: Inspected) -> Word:
    state = (0, 0)
    with suppress(OSError):
        state = state_of(path)
    return Word(inspected.word or path.stem, path, state, inspected)
