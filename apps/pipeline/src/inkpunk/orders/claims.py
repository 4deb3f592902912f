"""Claims on pictures, so that two processes do not draw the same one at once."""

import os
from contextlib import suppress
from pathlib import Path

NAME = ".claims"
_MOST = (1 << 62) - 1  # offsets are signed


class Claims:
    """Claims of this process on the pictures of a folder, each by a fingerprint of 64 bits.

    A claim is a lock on one byte of an empty file, at the fingerprint's offset: the system takes it back with
    whatever ends the process, so that no claim outlives its holder and none has to be cleared. Where a file system
    has no such locks, and on Windows, every claim is granted: two processes may then draw the same picture, and one
    of the two is kept. Within a process they exclude nobody.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder's file of claims, or make it.

        Raises:
            OSError: if that cannot be.
        """
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)

    def take(self, fingerprint: int) -> bool:
        """Claim a picture; False if another process holds it."""
        try:
            import fcntl
        except ImportError:  # Windows
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, fingerprint & _MOST)
        except (BlockingIOError, PermissionError):  # POSIX leaves open which of the two it is
            return False
        except OSError:
            return True
        return True

    def release(self, fingerprint: int) -> None:
        """Give a claim back."""
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, fingerprint & _MOST)

    def close(self) -> None:
        """Give all claims back."""
        os.close(self._file)
