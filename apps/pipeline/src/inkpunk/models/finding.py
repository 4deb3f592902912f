"""Files of weights found by their hashes: among those that were hashed before, and in folders."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from inkpunk.models.hashing import (
    LENGTH,
    hash_in_parts,
    model_hash,
    readable_hash,
    remembered,
    remembered_folder,
)

ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
FOLDER_SIGNS = ("model_index.json", "adapter_config.json", "config.json")
"""What a folder has that is one model, or one network: diffusers', PEFT's."""
FEWEST_DIGITS = 8
_HASH = re.compile(rf"[0-9a-f]{{{FEWEST_DIGITS},64}}")
MEGABYTE = 1_000_000


class HashError(ValueError):
    """A text that is no hash; the message says what one looks like."""


def read_hash(text: str) -> str:
    """A SHA-256 or its first digits, 8 at least, in lower case.

    Raises:
        HashError: for any other text.
    """
    digits = text.strip().strip("[]").lower().removeprefix("sha256:").removeprefix("0x")
    if not _HASH.fullmatch(digits):
        raise HashError(
            f"{text[:80]!r} is no hash; give the 10 or 12 digits that recipes have, or a whole SHA-256 of 64"
        )
    return digits


def alike(one: str, other: str) -> bool:
    """Whether two hashes, or first digits of some, are of the same file, as far as both go."""
    digits = min(len(one), len(other))
    return digits >= FEWEST_DIGITS and one[:digits] == other[:digits]


def known_files(digits: str, name: str = "") -> list[Path]:
    """Of what was hashed before, and is as it was then, the files and folders of a hash.

    Args:
        digits: the SHA-256 or its start; of a folder the 10 that it is known by.
        name: what it was called; those that are called so come first.
    """
    files = remembered()
    found = [path for path, sha256 in files.items() if alike(sha256, digits) and path.suffix in ENDINGS]
    if len(digits) == LENGTH:
        folders = dict.fromkeys(chain.from_iterable(path.parents[:2] for path in files))
        named = [each for each in folders if each.name == name or _is_model(each)]
        found += [each for each in named if remembered_folder(each, files) == digits]
    return sorted(found, key=lambda path: name not in (path.stem, path.name))


@dataclass(frozen=True)
class Looking:
    """The state of a search, after each part of a file that was read.

    Attributes:
        index, total: megabytes that were read, and that there are.
        path: where it looks.
        found: what it found there, if it did.
    """

    index: int
    total: int
    path: Path
    found: Path | None = None


def look_in(folders: Iterable[Path], digits: str, name: str = "") -> Iterator[Looking]:
    """Look for the file or folder of a hash, in folders and those in them, until it is found.

    What is called `name` is looked at first, and then what takes no reading. Files that cannot be read are passed
    over. Every hash is remembered: the next search reads nothing twice.
    """
    known = remembered()
    places = list(_candidates(folders, folder=len(digits) == LENGTH))
    sizes = {place: 0 if place.resolve() in known else _size(place) for place in places}
    places.sort(key=lambda place: (name not in (place.stem, place.name), sizes[place]))
    total, before = sum(sizes.values()) // MEGABYTE, 0
    for place in places:
        sha256 = ""
        if place.is_dir():
            sha256 = readable_hash(model_hash, place)
        else:
            work = hash_in_parts(place)
            try:
                while True:
                    done = next(work)
                    yield Looking((before + done) // MEGABYTE, total, place)
            except StopIteration as ended:
                sha256 = ended.value
            except OSError:
                pass
        before += sizes[place]
        if sha256 and alike(sha256, digits):
            yield Looking(before // MEGABYTE, total, place, place)
            return
    if places:
        yield Looking(total, total, places[-1])


def find(digits: str, name: str = "", folders: Sequence[Path] = ()) -> Path | None:
    """The file or folder of a hash, one that was hashed before, or one in these folders; None if there is none."""
    if known := known_files(digits, name):
        return known[0]
    return next((each.found for each in look_in(folders, digits, name) if each.found), None)


def _candidates(folders: Iterable[Path], *, folder: bool) -> Iterator[Path]:
    seen = set[Path]()
    for each in folders:
        for path in [each] if each.is_file() else sorted(each.rglob("*")):
            wanted = path.suffix in ENDINGS and path.is_file()
            if (wanted or (folder and _is_model(path))) and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _is_model(path: Path) -> bool:
    return path.is_dir() and any((path / sign).is_file() for sign in FOLDER_SIGNS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
