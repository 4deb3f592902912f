"""Folders of the Hugging Face hub's cache: `models--owner--name`, with the model in a snapshot inside."""

from pathlib import Path

from inkpunk_weights.errors import CheckpointError, shown_path

CACHED = "models--"
CHECKPOINTS = (".safetensors", ".ckpt")
MOST_REF = 200  # characters; a commit has 40


def snapshot_of(path: Path) -> Path:
    """Where the model is if `path` is a repository's folder in the hub's cache; else `path` itself.

    That is the snapshot that `refs/main` names or, where that is not here, the newest. A snapshot with one
    checkpoint file and no folder in it stands for this file.

    Raises:
        CheckpointError: if the cache has no snapshot of the repository, or it cannot be read.
    """
    if not path.name.startswith(CACHED) or not path.is_dir():
        return path
    try:
        snapshots = path / "snapshots"
        there = {each.name: each for each in _inside(snapshots) if _inside(each)}
        if not there:
            if any(each.name not in ("blobs", "refs", "snapshots") for each in path.iterdir()):
                return path  # a folder of its own that only has such a name
            raise CheckpointError(
                f"{shown_path(path)}: the hub's cache has no snapshot of this model; fetch it again"
            )
        main = _commit(path / "refs" / "main")
        newest = max(there, key=lambda name: (there[name].stat().st_mtime, name))
        return _only_file(there[main if main in there else newest])
    except OSError as error:
        raise CheckpointError(f"{shown_path(path)}: cannot be read ({error.strerror})") from error


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _commit(ref: Path) -> str:
    if not ref.is_file():
        return ""
    with ref.open(errors="replace") as file:
        return file.read(MOST_REF).strip()


def _only_file(snapshot: Path) -> Path:
    inside = _inside(snapshot)
    files = [each for each in inside if each.suffix in CHECKPOINTS and each.is_file()]
    return files[0] if len(files) == 1 and not any(each.is_dir() for each in inside) else snapshot
