"""Addresses of pictures for those who asked for `url`: they cannot be guessed, are bounded in number, and expire."""

import secrets
import time
from collections import OrderedDict
from pathlib import Path
from threading import Lock


class Files:
    """Pictures by what their addresses end in.

    Attributes:
        keep: seconds that an address is good for.
        most: of them at once; the oldest goes first.
    """

    def __init__(self, keep: float, most: int) -> None:
        self.keep, self.most = keep, most
        self._lock = Lock()
        self._held = OrderedDict[str, tuple[Path, float]]()

    def add(self, path: Path) -> str:
        """Give a picture an address, and return its end."""
        name = f"{secrets.token_urlsafe(24)}{path.suffix.lower()}"
        with self._lock:
            self._forget()
            self._held[name] = path, time.monotonic() + self.keep
            while len(self._held) > self.most:
                self._held.popitem(last=False)
        return name

    def path(self, name: str) -> Path | None:
        """The picture of an address; None if there never was, or no longer is, one."""
        with self._lock:
            self._forget()
            held = self._held.get(name)
        return held[0] if held else None

    def _forget(self) -> None:
        now = time.monotonic()
        while self._held and next(iter(self._held.values()))[1] <= now:
            self._held.popitem(last=False)
