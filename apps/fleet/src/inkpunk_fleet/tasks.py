"""What travels between the reader, the workers and the driver: a line of JSON each, of some hundred bytes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from inkpunk.orders.manifest import Row

State = Literal["drawn", "there", "failed", "failed before", "stuck"]


@dataclass(frozen=True)
class Task:
    """An order that is to be met, as the reader hands it to a worker.

    Attributes:
        line: where it stands in its file.
        key: the order's; of what has none, another hash that tells it from all others.
        file: its picture's name; None for what cannot be drawn.
        values: the order's; None for a line that cannot be read.
        error: why it cannot be drawn; "" for what can.
        told: the rows tell of its picture, or of its error, already.
        failed: it failed at an earlier time, and is not to be tried again.
    """

    line: int
    key: str
    file: str | None
    values: Mapping[str, Any] | None
    error: str = ""
    told: bool = False
    failed: bool = False

    def to_json(self) -> str:
        """The task as a line."""
        return json.dumps({**asdict(self), "values": self.values and dict(self.values)})

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        line: where it stands in its file.
        state: "drawn", "there" (its picture was in the folder already), "failed", "failed before" (at an earlier
            time, and it was not tried again), or "stuck": nothing can be saved, and the run is to end.
        error: why, where it is not done.
        row: what the rows are to tell of it; None if nothing new.
    """

    line: int
    state: State
    error: str = ""
    row: Row | None = None

    def to_json(self) -> str:
        """The outcome as a line."""
        told = {"line": self.line, "state": self.state, "error": self.error}
        return json.dumps(told | {"row": self.row and self.row.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "Outcome":
        """Read what `to_json` wrote."""
        told = json.loads(text)
        return cls(told["line"], told["state"], told["error"], told["row"] and Row.from_json(told["row"]))
