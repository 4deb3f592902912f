"""What a manifest tells of the past, kept up to date while others append to it."""

from pathlib import Path

from inkpunk.orders.manifest import Row
from inkpunk.orders.tally import Tally, fingerprint


class History:
    """Which pictures a manifest has a row of, and which failed; a few bytes for each."""

    def __init__(self, path: Path) -> None:
        """Read a manifest, if there is one."""
        self._path, self._read = path, 0
        self._done, self._failed = Tally(), Tally()
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since: whole lines, as the last may be in the making."""
        try:
            if self._path.stat().st_size == self._read:
                return
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                if row := Row.from_json(line.decode(errors="replace")):
                    (self._failed if row.file is None else self._done).add(_print(row.key))

    def is_done(self, key: str) -> bool:
        """Whether a picture has a row."""
        return self._done[_print(key)] > 0

    def has_failed(self, key: str) -> bool:
        """Whether an order failed, and was not done since."""
        return self._failed[_print(key)] > 0 and not self.is_done(key)

    def forget_failures(self) -> None:
        """Take those that failed until now as if they had not been tried."""
        self._failed = Tally()


def _print(key: str) -> int:
    try:
        return fingerprint(key)
    except ValueError:  # a row that somebody else wrote
        return 0
