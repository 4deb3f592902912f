"""Names of files that may be opened: opening a pipe waits for whoever writes to it, perhaps for ever."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from inkpunk_weights.errors import CheckpointError, shown_path

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: Path) -> None:
    """Refuse, before it is opened, whatever is not a regular file or a link to one.

    Raises:
        OSError: there is none, or it may not be looked at.
        CheckpointError: it is something else, or no file can have such a name.
    """
    where = shown_path(path)
    try:
        mode = path.stat().st_mode
    except ValueError:  # it holds a zero byte, or half a surrogate pair
        raise CheckpointError(f"{where}: no file can have this name; give another") from None
    if not stat.S_ISREG(mode):
        kind = next((name for is_it, name in _KINDS if is_it(mode)), "something else")
        raise CheckpointError(f"{where}: not a file but {kind}; put a regular file in its place")
