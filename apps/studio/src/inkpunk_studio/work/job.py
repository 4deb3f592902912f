"""A job: pictures that were asked for at once, and what became of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inkpunk.orders.order import Order

State = Literal["waiting", "drawing", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("waiting", "drawing")


class NoSuchJobError(LookupError):
    """There is no job of this id, or its results' time is over."""

    def __init__(self, id: str) -> None:
        super().__init__(f"job {id[:40]!r}: there is none; results are kept for a while only")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        picture: how many of its pictures are done, skipped ones too.
        pictures: how many there are.
        step: steps that are done of the one that is being drawn.
        steps: how many those are in all; 0 while that is not known.
        seconds_left: until all are done, as far as can be told; None where it cannot.
    """

    picture: int
    pictures: int
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """How much of the whole is done, 0 to 1."""
        within = self.step / self.steps if self.steps else 0.0
        return min(1.0, (self.picture + within) / self.pictures)


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn and saved.

    Attributes:
        order: which of its job's orders, from 0.
        path: in the folder of pictures.
        seed: of the picture.
        infotext: its recipe, as AUTOMATIC1111 writes it.
        seconds: that it took.
    """

    order: int
    path: Path
    seed: int
    infotext: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """A snapshot of a job; it never changes under who holds it.

    Attributes:
        id: sorts by time, and cannot be guessed.
        orders: one picture each, every seed settled.
        client: who asked: "page", "openai", "a1111", "jobs".
        state: "waiting", "drawing", "done", "failed" or "cancelled".
        place: in the queue, 0 for the next to be drawn; None unless it waits.
        progress: how far it is.
        drawn: its pictures, as far as they are drawn.
        warnings: what its asker should know, a line each.
        error: why it failed, in one line; None unless it did.
        made, began, ended: when, in Unix seconds.
        skipped: orders that somebody had skipped, from 0.
        stopping: whether it is asked to stop; it does within a step.
        unfinished: the picture that it was stopped in, as it stood then, where who stopped it wanted it; it is in no
            gallery, and goes with the job.
        tries: how often its drawing was begun, or gone on with, without a picture since.
    """

    id: str
    orders: tuple[Order, ...]
    client: str
    state: State
    place: int | None
    progress: Progress
    drawn: tuple[Drawn, ...]
    warnings: tuple[str, ...]
    error: str | None
    made: float
    began: float | None = None
    ended: float | None = None
    skipped: tuple[int, ...] = ()
    stopping: bool = False
    unfinished: Drawn | None = None
    tries: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state not in UNFINISHED

    @property
    def undrawn(self) -> tuple[int, ...]:
        """Its orders that are neither drawn nor skipped, by their places."""
        over = {each.order for each in self.drawn} | {*self.skipped}
        return tuple(place for place in range(len(self.orders)) if place not in over)
