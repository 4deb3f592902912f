"""The one error of this package."""

from pathlib import Path


class CheckpointError(ValueError):
    """A file that is not what it was taken for, or not usable. Its message is one line: what, where, what to do.

    Attributes:
        found: what it is instead, where that is something this package reads: "checkpoint", "adapter", "embedding",
            "control network", "image prompt", "image encoder", "tiny autoencoder".
    """

    def __init__(self, message: str, *, found: str | None = None) -> None:
        super().__init__(message)
        self.found = found


def shown_path(path: Path) -> str:
    """A path for the start of a message: as it is, or quoted where that would not be one printable line."""
    return str(path) if str(path).isprintable() else repr(str(path))


def shown(text: str, limit: int = 80) -> str:
    """`text` from a stranger's file, quoted for a message: printable, on one line, not too long."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
