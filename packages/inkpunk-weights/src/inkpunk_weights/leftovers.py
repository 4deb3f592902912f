"""Temporary files and folders that a killed process left."""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

STALE = 3600  # seconds in which nothing in it was written
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial", re.DOTALL)
_SCRATCH = re.compile(r"\.inkpunk-[a-z0-9_]{8}")
SCRATCH = "scratch.safetensors"
MARKS = {
    "model_index.json",
    "scheduler",
    "text_encoder",
    "unet",
    "vae",
    "tokenizer",
}  # of what we make folders of


def clear_leftovers(folder: Path) -> None:
    """Delete what saving left in a folder when its process was killed: ours by name and content, an hour old."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if not path.is_symlink() and _is_ours(path) and _age(path) > STALE:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_ours(path: Path) -> bool:
    """Whether we made it. An old model on its way to be replaced has such a name, too: it may be the only one."""
    if _SCRATCH.fullmatch(path.name):
        return path.is_dir() and {each.name for each in path.iterdir()} <= {SCRATCH}
    if not _PARTIAL.fullmatch(path.name):
        return False
    # Of a folder without a file at its final name nobody knows whether it is the half of a new one or an old one
    # that was just moved aside: that one is left to its owner.
    final = path.with_name(path.name[1:].rpartition(".")[0].rpartition(".")[0])
    return path.is_file() or (final.exists() and {each.name for each in path.iterdir()} <= MARKS)


def _age(path: Path) -> float:
    inside = path.rglob("*") if path.is_dir() else ()
    return time.time() - max(each.stat().st_mtime for each in (path, *inside))
