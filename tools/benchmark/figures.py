"""The file of figures: each is written as soon as it is there, and none is lost to what fails later."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple


class OtherSettings(ValueError):
    """The file's figures are of another model or machine: beside new ones they would mean nothing."""


@dataclass(frozen=True)
class Figure:
    """One turn of one peer.

    Attributes:
        work: the name of what was done.
        peer: who did it.
        turn: which of its turns, from 0.
        seconds: what it took.
        peak: the most bytes that the process held meanwhile; None where nobody can say.
        error: the largest difference to ours in float32, relative to the largest value; of a picture, the mean
            difference in levels of 255. None where there was nothing to compare with.
        rate: operations a second of the machine's matrix products in the peer's precision, just before.
    """

    work: str
    peer: str
    turn: int
    seconds: float
    peak: int | None = None
    error: float | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Failure:
    """Why a peer is not in a row."""

    work: str
    peer: str
    why: str


class Key(NamedTuple):
    """What is measured once."""

    work: str
    peer: str
    turn: int


class Record:
    """Figures and failures, in a file of one a line under a line of settings.

    A figure ends the failures of its peer at that work, and one measured anew takes the old one's place.
    """

    def __init__(self, path: Path, settings: Mapping[str, str | int]):
        """Open the file, or begin it.

        Args:
            path: the file; a last line that an interruption cut is dropped.
            settings: what all figures in it have in common.

        Raises:
            OtherSettings: for a file of others.
        """
        self._path = path
        self._figures: dict[Key, Figure] = {}
        self._failures: dict[tuple[str, str], Failure] = {}
        self._settings = dict(settings)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        if whole and whole[0] != self._settings:
            differ = sorted(key for key in {*whole[0], *settings} if whole[0].get(key) != settings.get(key))
            raise OtherSettings(
                f"{path}: its figures are of another {', '.join(differ)}; give another --out, or remove it"
            )
        for entry in whole[1:]:
            self._take(Failure(**entry) if "why" in entry else Figure(**entry))
        self._write_all()

    @property
    def figures(self) -> list[Figure]:
        """All that is known."""
        return list(self._figures.values())

    @property
    def failures(self) -> list[Failure]:
        """Who failed, and did not succeed later."""
        return list(self._failures.values())

    def add(self, entry: Figure | Failure) -> None:
        """Take a figure, or a failure, and write it down at once."""
        self._take(entry)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    def missing(self, work: str, peer: str, turns: int) -> list[int]:
        """Which of so many turns were not taken."""
        return [turn for turn in range(turns) if Key(work, peer, turn) not in self._figures]

    def forget(self, works: Collection[str], peers: Collection[str]) -> None:
        """Drop what these peers did of these works, so that it is measured anew."""
        for key in [key for key in self._figures if key.work in works and key.peer in peers]:
            del self._figures[key]
        self._write_all()

    def _take(self, entry: Figure | Failure) -> None:
        if isinstance(entry, Failure):
            self._failures[entry.work, entry.peer] = entry
        else:
            self._failures.pop((entry.work, entry.peer), None)
            self._figures[Key(entry.work, entry.peer, entry.turn)] = entry

    def _write_all(self) -> None:
        entries = [self._settings, *map(asdict, (*self._figures.values(), *self._failures.values()))]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        part.replace(self._path)
