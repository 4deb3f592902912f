"""Files that exist whole or not at all."""

import errno
import os
import secrets
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from inkpunk.pictures.leftovers import clear_leftovers

# How a file system says that it has no hard links: exFAT and network mounts differ in their wording.
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EMLINK,
    errno.EINVAL,
}


def write_atomically(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file so that nobody ever sees half of it, whatever interrupts the writing.

    The bytes go to a hidden temporary file in the same folder, reach the disk, and only then get their name.
    Ctrl-C waits for the few milliseconds this takes, then acts as ever. Only a killed process or a power cut
    can leave something behind: the temporary file, never a part of `path`. The next writing clears it, an hour later.

    Args:
        path: where to; its folder must exist.
        data: the whole content.
        overwrite: replace what is there. Without it an existing file stays untouched, also one that
            another process makes at the same moment.

    Raises:
        FileExistsError: `path` exists and `overwrite` is off.
        OSError: the folder does not exist, is not writable, or is full.
    """
    if path.name in ("", ".."):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    clear_leftovers(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with _interrupts_deferred():
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                _name_anew(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def _name_anew(temporary: Path, path: Path) -> None:
    """Give the file its name unless the name is taken; each way leaves the decision to the file system."""
    if os.name == "nt":
        temporary.rename(path)  # on Windows a rename refuses a name that is taken
        return
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        path.touch(exist_ok=False)  # claims the name; what is replaced below is this empty file of ours
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink()
            raise


@contextmanager
def _interrupts_deferred() -> Generator[None]:
    """Hold Ctrl-C back until the block is left, then let it act."""
    # Python delivers signals to the main thread; any other is never interrupted.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    arrived = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived:
            signal.raise_signal(signal.SIGINT)
