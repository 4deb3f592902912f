"""Small copies of pictures, made when they are first looked at, and kept in a folder that does not grow forever."""

import hashlib
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from threading import Lock

from inkpunk.pictures.atomic import write_atomically
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.reading import read_picture
from PIL import Image

from inkpunk_studio.gallery.shelf import Hung

SIDE = 320
"""Pixels of the longer side: sharp where a gallery shows four a row."""
MOST = 10_000
"""Files that are kept, of some 10 KB each."""
LOOK_EVERY = 200
"""Thumbnails that are made before it is looked whether there are too many."""
QUALITY = 80


class Thumbnails:
    """Small WebP copies; thread-safe.

    Attributes:
        folder: where they are.
    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        """Keep them in a folder, which is made when it is needed.

        Args:
            folder: for nothing else: old files in it are deleted.
            most: how many are kept.
        """
        self.folder, self._most, self._made, self._lock = folder, most, 0, Lock()

    def of(self, hung: Hung) -> Path | None:
        """The small copy of a picture as it is now; None of one that cannot be read."""
        told = f"{hung.path}\0{hung.changed}\0{hung.bytes}"
        path = self.folder / f"{hashlib.sha256(os.fsencode(told)).hexdigest()[:32]}.webp"
        if path.exists():
            return path
        try:
            with read_picture(hung.path) as image:
                image.thumbnail((SIDE, SIDE))
                self._write(path, image)
        except (PictureError, OSError):
            return None
        return path

    def _write(self, path: Path, image: Image.Image) -> None:
        held = BytesIO()
        image.save(held, "WEBP", quality=QUALITY)
        self.folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_atomically(path, held.getvalue(), overwrite=True)
        with self._lock:
            self._made += 1
            due = self._made % LOOK_EVERY == 1 or self._most < LOOK_EVERY
        if due:
            self._forget_oldest(path)

    def _forget_oldest(self, newest: Path) -> None:
        there = [(each.stat().st_mtime_ns, each) for each in self.folder.glob("*.webp") if each != newest]
        for _, each in sorted(there)[: max(0, len(there) + 1 - self._most)]:
            with suppress(OSError):
                each.unlink()
