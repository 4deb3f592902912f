"""Temporary files that a killed process left."""

import re
import time
from contextlib import suppress
from pathlib import Path

STALE = 3600  # seconds; writing a picture takes milliseconds
_cleared = dict[
    Path, float
]()  # when; looking through a folder of very many files takes longer than writing one
_OURS = re.compile(r"\.[0-9a-f]{16}\.tmp")


def clear_leftovers(folder: Path) -> None:
    """Delete what `write_atomically` left in a folder when its process was killed: by its name, and an hour old.

    A process does so once an hour in each folder.
    """
    if time.monotonic() - _cleared.get(folder, -STALE) < STALE:
        return
    _cleared[folder] = time.monotonic()
    with suppress(OSError):
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name):
                with suppress(OSError):
                    if (
                        path.is_file()
                        and not path.is_symlink()
                        and time.time() - path.stat().st_mtime > STALE
                    ):
                        path.unlink()
