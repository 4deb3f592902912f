"""Where weights lie: files, and folders that are one model or one network, in folders and in the hub's cache."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from inkpunk.models.loras import is_adapter_folder

from inkpunk_studio.work.inspecting import (
    CHECKPOINTS,
    FOLDER_SIGN,
    NETWORK_SIGN,
    WEIGHTS,
    Inspected,
    inspect,
    is_ours,
)

OF_NETWORKS = re.compile(r"control|t2i|ip[-_]?adapter", re.IGNORECASE)
"""What repositories are called whose networks are listed: the cache may hold language models by the dozen."""


def weights_in(folder: Path) -> Iterator[tuple[str, Path, Inspected]]:
    """What lies below a folder, by the path within it without its ending; what is in one network not once more."""
    for path in _within(folder):
        name = path.relative_to(folder)
        if path.is_file():
            name = name.with_suffix("")
        yield name.as_posix(), path, inspect(path)


def models_of_hub(hub: Path) -> Iterator[tuple[str, Path]]:
    """Models of diffusers that the hub's cache holds, by their ids; of each the snapshot that was fetched last."""
    for folder in sorted(hub.glob("models--*--*")):
        if (snapshot := _newest(each for each in folder.glob("snapshots/*") if is_ours(each))) is not None:
            yield _id_of(folder), snapshot


def networks_of_hub(hub: Path) -> Iterator[tuple[str, Path, Inspected]]:
    """Networks that the hub's cache holds, by their ids, or those and the paths in them."""
    for folder in sorted(hub.glob("models--*--*")):
        if not OF_NETWORKS.search(folder.name):
            continue
        snapshot = _newest(folder.glob("snapshots/*"))
        if snapshot is None or (snapshot / FOLDER_SIGN).is_file():
            continue
        if _is_one(snapshot):
            yield _id_of(folder), snapshot, inspect(snapshot)
            continue
        for name, path, inspected in weights_in(snapshot):
            yield f"{_id_of(folder)}/{name}", path, inspected


def _within(folder: Path) -> Iterator[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_file():
            if path.suffix in WEIGHTS:
                yield path
        elif path.is_dir():
            if _is_one(path):
                yield path
            else:
                yield from _within(path)


def _is_one(folder: Path) -> bool:
    """Whether a folder is one model or network, whatever becomes of it."""
    if (folder / FOLDER_SIGN).is_file() or is_adapter_folder(folder):
        return True
    return (folder / NETWORK_SIGN).is_file() and inspect(folder).kind != "other"


def _newest(snapshots: Iterator[Path]) -> Path | None:
    return max(snapshots, key=_changed, default=None)


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _id_of(folder: Path) -> str:
    return folder.name.removeprefix("models--").replace("--", "/", 1)


def without_ending(name: str) -> str:
    """A name without the ending of a file of weights."""
    return next((name.removesuffix(each) for each in (*CHECKPOINTS, *WEIGHTS) if name.endswith(each)), name)


def bytes_of(path: Path) -> int | None:
    """The size of a file, or of all in a folder; None where that is not known."""
    with suppress(OSError):
        if path.is_file():
            return path.stat().st_size
        if path.is_dir():
            return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return None
