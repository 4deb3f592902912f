"""Peers take turns; each figure is written down as soon as it is there, and what is there is not measured again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tools.matmul_rate import matmul_rate

from .figures import Failure, Figure, Record
from .peers import OURS, PEERS, draw, load, serve
from .processes import PeerFailed, Process, ask
from .work import TABLE, Work

LOAD = "load"


def picture_name(steps: int, size: int) -> str:
    """What a whole picture is called among the works."""
    return f"picture, {size}x{size}, {steps} steps"


def relative(result: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(result - reference).max() / np.abs(reference).max())


def levels(picture: np.ndarray, reference: np.ndarray) -> float:
    """The mean difference, in levels of 255."""
    return float(np.abs(picture - reference).mean())


class Done(NamedTuple):
    """One turn's seconds and result, and the most bytes that the process held."""

    seconds: float
    result: np.ndarray
    peak: int | None


class Worker(Process):
    """A peer that does one piece of work as often as asked."""

    def __init__(self, name: str, folder: Path, work: Work):
        """Start it, and wait until it is ready.

        Raises:
            PeerFailed: if it does not come so far.
        """
        super().__init__(serve, name, folder, work)
        self.receive()

    def do(self) -> Done:
        """Take a turn."""
        self.send(True)
        return Done(*self.receive())

    def stop(self) -> None:
        """Let it end."""
        self.send(False)
        self.end()


@dataclass(frozen=True)
class Bench:
    """A model, the record of its figures, and a folder for the results that others are compared with."""

    folder: Path
    record: Record
    out: Path
    turns: int

    def measure(self, work: Work, names: Sequence[str]) -> None:
        """Let peers take turns at a piece of work, as far as they have not."""
        missing = {
            name: self.record.missing(work.name, name, self.turns)
            for name in names
            if work in TABLE or PEERS[name].growth
        }
        # one after the other, those who compile first: getting ready takes twice the memory of being so
        workers: dict[str, Worker] = {}
        for name in reversed([name for name, turns in missing.items() if turns]):
            try:
                workers[name] = Worker(name, self.folder, work)
            except PeerFailed as failed:
                self._tell(work.name, name, failed)
        for turn in range(self.turns):
            for name in [name for name, turns in missing.items() if turn in turns and name in workers]:
                try:
                    self._take_turn(workers[name], work, name, turn)
                except PeerFailed as failed:
                    del workers[name]
                    self._tell(work.name, name, failed)
        for worker in workers.values():
            worker.stop()

    def load(self, names: Sequence[str]) -> None:
        """From imports that are done to a pipeline that could draw, in turns."""
        failed: set[str] = set()
        for turn in range(self.turns):
            for name in names:
                if name in failed or turn not in self.record.missing(LOAD, name, self.turns):
                    continue
                try:
                    self._add(Figure(LOAD, name, turn, ask(load, name, self.folder)))
                except PeerFailed as why:
                    failed.add(name)
                    self._tell(LOAD, name, why)

    def picture(self, name: str, steps: int, size: int) -> None:
        """From files to a PNG, once, if that was not done."""
        work = picture_name(steps, size)
        if not self.record.missing(work, name, 1):
            return
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            png = self.out / f"{work}, {name}.png"
            seconds, picture, peak = ask(draw, name, self.folder, steps, size, png)
        except PeerFailed as failed:
            self._tell(work, name, failed)
            return
        reference = self._reference(work, name, picture)
        error = None if reference is None else levels(picture, reference)
        self._add(Figure(work, name, 0, seconds, peak, error))

    def _take_turn(self, worker: Worker, work: Work, name: str, turn: int) -> None:
        rate = matmul_rate(PEERS[name].dtype)
        done = worker.do()
        reference = self._reference(work.name, name, done.result)
        error = None if reference is None else relative(done.result, reference)
        self._add(Figure(work.name, name, turn, done.seconds, done.peak, error, rate))

    def _reference(self, work: str, name: str, result: np.ndarray) -> np.ndarray | None:
        """Our result in float32: kept in a file, as a run may be continued when we had our turns."""
        kept = self.out / f"{work}.npy"
        if name == OURS:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, result)
        return np.load(kept) if kept.exists() else None

    def _add(self, figure: Figure) -> None:
        self.record.add(figure)
        unit = " levels" if figure.work.startswith("picture") else ""
        error = "" if figure.error is None else f", error {figure.error:.1e}{unit}"
        print(
            f"{figure.work}: {figure.peer}, turn {figure.turn + 1}: {figure.seconds:.3f} s{error}", flush=True
        )

    def _tell(self, work: str, name: str, failed: PeerFailed) -> None:
        self.record.add(Failure(work, name, str(failed)))
        print(f"{work}: {name} failed, and is left out: {failed}", flush=True)
