"""Which weights drew a picture: a short hash of a checkpoint, remembered so that it is computed once."""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from inkpunk.pictures.atomic import write_atomically

SHORT = 12  # hex digits, as in the "Lora hashes" that AUTOMATIC1111 writes
LENGTH = 10  # hex digits, as in the "Model hash" that AUTOMATIC1111 writes
WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt")
MOST_CACHE = 16_000_000  # bytes, of a hundred thousand models
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class _Seen:
    """What a file was when it was hashed: if any of it changes, the hash is computed anew."""

    size: int
    mtime_ns: int
    sha256: str


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hex digits.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    return _sha256(path)


def model_hash(path: Path) -> str:
    """The first ten hex digits that identify a checkpoint's weights.

    Of a file: of its SHA-256, as AUTOMATIC1111 has it. Of a folder: of the SHA-256 of the list that
    `sha256sum` prints for its weight files (.safetensors, .bin, .ckpt, .pt) in the order of their names, so
    that configs and renamed folders do not matter.

    Raises:
        OSError: the path does not exist or cannot be read.
    """
    if not path.is_dir():
        return _sha256(path)[:LENGTH]
    files = sorted(
        (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.suffix in WEIGHTS
    )
    listed = "".join(f"{_sha256(file)}  {name}\n" for name, file in files if file.is_file())
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:LENGTH]


def readable_hash(hash_of: Callable[[Path], str], path: Path) -> str:
    """What `file_hash` or `model_hash` gives, or "" where the file can no longer be read.

    By then a picture was drawn: it is worth more than this line of its recipe.
    """
    try:
        return hash_of(path)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return ""


def short_hash(path: Path) -> str:
    """The first 12 hex digits of a file's SHA-256, or what a folder is known by; "" where it is gone."""
    return readable_hash(model_hash if path.is_dir() else file_hash, path)[:SHORT]


def cache_folder() -> Path:
    """Where to keep what can be computed again: $INKPUNK_CACHE, or `inkpunk` in the user's cache folder."""
    if own := os.environ.get("INKPUNK_CACHE"):
        return Path(own)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    return (shared if shared.is_absolute() else Path("~/.cache").expanduser()) / "inkpunk"


def _sha256(file: Path) -> str:
    file = file.resolve()
    before = file.stat()
    if not stat.S_ISREG(before.st_mode):  # a pipe would be waited for, and a device never ends
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    seen = _recall().get(str(file))
    if seen and (seen.size, seen.mtime_ns) == (before.st_size, before.st_mtime_ns):
        return seen.sha256
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    after = file.stat()
    if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
        _remember(str(file), _Seen(before.st_size, before.st_mtime_ns, sha256))
    return sha256


def _recall() -> dict[str, _Seen]:
    """All that is remembered; nothing, if the cache is missing or damaged, and of a damaged entry nothing either."""
    try:
        if not _cache().is_file():
            return {}
        with _cache().open("rb") as file:
            told = cast("object", json.loads(file.read(MOST_CACHE)))
    except (OSError, RuntimeError, ValueError, RecursionError):
        return {}
    entries = cast("dict[str, object]", told) if isinstance(told, dict) else {}
    return {name: seen for name, entry in entries.items() if (seen := _entry(entry))}


def _entry(told: object) -> _Seen | None:
    match told:
        case [int(size), int(mtime), str(sha256)] if _SHA256.fullmatch(sha256):
            return _Seen(size, mtime, sha256)
        case _:
            return None


def _remember(name: str, seen: _Seen) -> None:
    """Add to the cache, and drop files that are gone. A cache that cannot be written is done without."""
    try:
        known = {known: each for known, each in _recall().items() if _is_there(known)} | {name: seen}
        listed = {name: (each.size, each.mtime_ns, each.sha256) for name, each in known.items()}
        _cache().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_cache(), json.dumps(listed, indent=1).encode(), overwrite=True)
    except (OSError, RuntimeError, ValueError):
        return


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL
        return False


def _cache() -> Path:
    return cache_folder() / "hashes.json"
