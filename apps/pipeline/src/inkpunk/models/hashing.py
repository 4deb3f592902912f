"""Which weights drew a picture: a short hash of a checkpoint, remembered so that it is computed once."""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from inkpunk.pictures.atomic import write_atomically

SHORT = 12  # hex digits, as in the "Lora hashes" that AUTOMATIC1111 writes
LENGTH = 10  # hex digits, as in the "Model hash" that AUTOMATIC1111 writes
WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt")
PART = 1 << 24  # bytes that are read at a time, where progress is told
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
    return _of_list((name, _sha256(file)) for name, file in _weights_in(path))


def _weights_in(folder: Path) -> list[tuple[str, Path]]:
    """The weight files of a folder and of those in it, by their paths within it, in order."""
    files = sorted(
        (file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.suffix in WEIGHTS
    )
    return [(name, file) for name, file in files if file.is_file()]


def _of_list(files: Iterable[tuple[str, str]]) -> str:
    listed = "".join(f"{sha256}  {name}\n" for name, sha256 in files)
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


def remembered() -> dict[Path, str]:
    """The SHA-256 of every file that was hashed before and is as it was then, by its path."""
    found = dict[Path, str]()
    for name, seen in _recall().items():
        try:
            there = Path(name).stat()
        except (OSError, ValueError):  # gone, or no name of a file
            continue
        if (seen.size, seen.mtime_ns) == (there.st_size, there.st_mtime_ns):
            found[Path(name)] = seen.sha256
    return found


def remembered_folder(folder: Path, files: Mapping[Path, str]) -> str | None:
    """What `model_hash` gives of a folder, of `remembered` files alone; None where there are others."""
    hashes = [(name, files.get(file.resolve())) for name, file in _weights_in(folder)]
    known = [(name, sha256) for name, sha256 in hashes if sha256 is not None]
    return _of_list(known) if known and len(known) == len(hashes) else None


def hash_in_parts(path: Path) -> Generator[int, None, str]:
    """As `file_hash`, but yields how many bytes were read after each part, and returns the hash.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    file, before, sha256 = _begin(path)
    if sha256 is not None:
        return sha256
    digest, done = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while part := opened.read(PART):
            digest.update(part)
            done += len(part)
            yield done
    return _end(file, before, digest.hexdigest())


def _sha256(path: Path) -> str:
    file, before, sha256 = _begin(path)
    if sha256 is not None:
        return sha256
    with file.open("rb") as opened:
        return _end(file, before, hashlib.file_digest(opened, "sha256").hexdigest())


def _begin(path: Path) -> tuple[Path, os.stat_result, str | None]:
    """The file itself, what it is now, and its hash where that is remembered."""
    file = path.resolve()
    before = file.stat()
    if not stat.S_ISREG(before.st_mode):  # a pipe would be waited for, and a device never ends
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    seen = _recall().get(str(file))
    known = seen and (seen.size, seen.mtime_ns) == (before.st_size, before.st_mtime_ns)
    return file, before, seen.sha256 if seen and known else None


def _end(file: Path, before: os.stat_result, sha256: str) -> str:
    """Remember a hash, unless the file has changed while it was read."""
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
