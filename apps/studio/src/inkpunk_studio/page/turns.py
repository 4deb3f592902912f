"""Whose turn it is on a page: the newest asking owns the stage, and whoever came before leaves it."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

MOST_PAGES = 10_000  # open at once; a page that is forgotten only keeps what its last asking shows


@dataclass(frozen=True)
class Turn:
    """An asking of a page.

    Attributes:
        page: which.
        number: of its askings, from 1.
        at: when it was asked, by the page's own clock; 0 where nobody knows.
    """

    page: str
    number: int
    at: float = 0.0


class Turns:
    """The newest turn of each page."""

    def __init__(self) -> None:
        """Begin with none."""
        self._newest: OrderedDict[str, Turn] = OrderedDict()
        self._typed: dict[str, str] = {}
        self._stopped: dict[str, float] = {}
        self._lock = Lock()

    def take(self, page: str | None, at: float = 0.0) -> Turn:
        """Take the next turn of a page, unless it was asked for before the newest one, and came by another way.

        Args:
            page: which.
            at: when it was asked for, by the page's own clock; 0 where nobody knows.
        """
        with self._lock:
            before = self._newest.get(page or "", Turn(page or "", 0))
            if 0 < at < before.at:
                return Turn(before.page, 0, at)
            turn = Turn(before.page, before.number + 1, max(at, before.at))
            self._newest[turn.page] = turn
            self._newest.move_to_end(turn.page)
            while len(self._newest) > MOST_PAGES:
                page, _ = self._newest.popitem(last=False)
                self._typed.pop(page, None)
                self._stopped.pop(page, None)
            return turn

    def stop(self, page: str | None, at: float) -> str | None:
        """Let nothing be drawn that a page's keys asked for until now; tell the job that they asked for last.

        Args:
            page: which.
            at: now, by the page's own clock.
        """
        with self._lock:
            self._stopped[page or ""] = at
            return self._typed.get(page or "")

    def may_draw(self, turn: Turn) -> bool:
        """Whether a turn is the newest, and nobody has said stop since."""
        with self._lock:
            newest = self._newest.get(turn.page) == turn
            return newest and not turn.at <= self._stopped.get(turn.page, -1.0)

    def note_typed(self, turn: Turn, job: str) -> None:
        """Note the job that a page asked for while somebody typed."""
        with self._lock:
            self._typed[turn.page] = job

    def typed(self, turn: Turn) -> str | None:
        """The job that the page asked for before while somebody typed."""
        with self._lock:
            return self._typed.get(turn.page)

    def take_typed(self, turn: Turn) -> str | None:
        """As `typed`, once: whoever takes it sees to what becomes of it."""
        with self._lock:
            return self._typed.pop(turn.page, None)

    def is_newest(self, turn: Turn) -> bool:
        """Whether nobody came after it."""
        with self._lock:
            return self._newest.get(turn.page) == turn
