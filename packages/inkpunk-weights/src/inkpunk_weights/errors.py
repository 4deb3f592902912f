"""The one error of this package."""

from pathlib import Path


class CheckpointError(ValueError):
    """A file that is no usable checkpoint. Its message is one line: what is wrong, where, what to do."""


def shown_path(path: Path) -> str:
    """A path for the start of a message: as it is, or quoted where that would not be one printable line."""
    return str(path) if str(path).isprintable() else repr(str(path))


def shown(text: str, limit: int = 80) -> str:
    """`text` from a stranger's file, quoted for a message: printable, on one line, not too long."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
