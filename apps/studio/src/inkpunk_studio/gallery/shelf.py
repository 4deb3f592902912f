"""Pictures of a folder, newest first, each by an id that says nothing of where it is."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from inkpunk.pictures.formats import ENDINGS

ID_DIGITS = 20


class NoSuchPictureError(LookupError):
    """There is no picture of this id, or somebody has moved it."""

    def __init__(self, id: str) -> None:
        super().__init__(f"picture {id[:40]!r}: there is none; look at the gallery again")


@dataclass(frozen=True)
class Hung:
    """A picture that hangs in the gallery.

    Attributes:
        id: what callers call it.
        path: its file.
        changed: when, in nanoseconds since 1970.
        bytes: its size on disk.
    """

    id: str
    path: Path
    changed: int
    bytes: int

    @property
    def name(self) -> str:
        """Its file's name."""
        return self.path.name


def id_of(name: str) -> str:
    """What callers call the file of a name."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:ID_DIGITS]


def hung_in(folder: Path) -> tuple[Hung, ...]:
    """The pictures of a folder, newest first; not those in folders within, nor what links elsewhere."""
    found = list[Hung]()
    try:
        with os.scandir(folder) as inside:
            for each in inside:
                if each.name.startswith(".") or not each.name.lower().endswith(tuple(ENDINGS)):
                    continue
                try:
                    if not each.is_file(follow_symlinks=False):
                        continue
                    seen = each.stat(follow_symlinks=False)
                except OSError:
                    continue  # it went while we looked
                found.append(Hung(id_of(each.name), folder / each.name, seen.st_mtime_ns, seen.st_size))
    except OSError:
        return ()
    return tuple(sorted(found, key=lambda each: (each.changed, each.name), reverse=True))


def hung_at(path: Path) -> Hung | None:
    """The picture of a file that was listed before; None if it is not there any more."""
    try:
        seen = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(seen.st_mode):
        return None
    return Hung(id_of(path.name), path, seen.st_mtime_ns, seen.st_size)
