"""What a worker was drawing when its process died, told to the process that takes its place."""

import json
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

MOST = 3
"""Deaths after which an order is given up: one that kills whoever draws it would keep a fleet busy for ever."""


class Deaths:
    """How many processes of a worker died over each order: a small file on the machine's own disk."""

    def __init__(self, worker: str) -> None:
        """Begin as the first process of a worker, or as the next.

        Args:
            worker: a name that a worker keeps when its process is replaced.
        """
        self._path = Path(tempfile.gettempdir(), f"inkpunk-fleet-{worker}.json")
        self._counts = Counter[str]()
        with suppress(OSError, ValueError):
            told = json.loads(self._path.read_text())
            self._counts.update(told["deaths"])
            if told["drawing"]:
                self._counts[told["drawing"]] += 1
        self.drawing(None)

    def of(self, key: str) -> int:
        """How many processes died while they drew an order."""
        return self._counts[key]

    def drawing(self, key: str | None) -> None:
        """Note what is drawn from now on; None for nothing."""
        with suppress(OSError):  # a full disk: deaths are then not counted
            self._path.write_text(json.dumps({"deaths": self._counts, "drawing": key}))
