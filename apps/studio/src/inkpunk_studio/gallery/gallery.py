"""The folder of pictures as a gallery: what hangs in it, what is looked for, what was thrown away."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from inkpunk_studio.gallery.prompts import Prompts
from inkpunk_studio.gallery.recipes import Opened, open_picture
from inkpunk_studio.gallery.shelf import Hung, NoSuchPictureError, hung_at, hung_in, id_of
from inkpunk_studio.gallery.thumbnails import Thumbnails

TRASH = "trash"
"""The folder, in that of the pictures, of what was deleted."""
THUMBNAILS = "thumbnails"


class Gallery:
    """A folder of pictures. The folder itself is all that it knows: files may come and go by any hand.

    Attributes:
        folder: of the pictures.
        thumbnails: their small copies.
    """

    def __init__(self, folder: Path, state: Path) -> None:
        """Look at a folder, which need not be there yet.

        Args:
            folder: of the pictures.
            state: where small copies may be kept.
        """
        self.folder = folder.expanduser().absolute()
        self.thumbnails = Thumbnails(state.expanduser().absolute() / THUMBNAILS)
        self._prompts = Prompts()
        self._listed = dict[str, Path]()

    def pictures(self, words: str = "") -> tuple[Hung, ...]:
        """Those that hang, newest first.

        Args:
            words: only those whose prompts hold every word, whatever its case; all if there are none.
        """
        hung, wanted = hung_in(self.folder), words.casefold().split()
        self._listed = {each.id: each.path for each in hung}
        if not wanted:
            return hung
        return tuple(each for each in hung if all(word in self._prompts.of(each) for word in wanted))

    def picture(self, id: str) -> Hung:
        """One of them.

        Raises:
            NoSuchPictureError: there is none of this id.
        """
        listed = self._listed.get(id)
        if listed is not None and (hung := hung_at(listed)) is not None:
            return hung
        return _named(id, self.pictures())

    def open(self, id: str) -> Opened:
        """What one of them says of how it was drawn.

        Raises:
            NoSuchPictureError: there is none of this id.
            PictureError: it is no picture, or damaged.
        """
        return open_picture(self.picture(id).path)

    def thumbnail(self, hung: Hung) -> Path | None:
        """A small copy of one; None of one that cannot be read."""
        return self.thumbnails.of(hung)

    def trashed(self) -> tuple[Hung, ...]:
        """Those that were deleted, newest first."""
        return hung_in(self.folder / TRASH)

    def delete(self, id: str) -> Hung:
        """Move one to the trash, and tell what it is there.

        Raises:
            NoSuchPictureError: there is none of this id.
            OSError: the folder cannot be written to.
        """
        trash = self.folder / TRASH
        trash.mkdir(exist_ok=True)
        return _moved(self.picture(id), trash)

    def restore(self, id: str) -> Hung:
        """Hang one from the trash again.

        Raises:
            NoSuchPictureError: there is none of this id in the trash.
            OSError: the folder cannot be written to.
        """
        return _moved(_named(id, self.trashed()), self.folder)

    def empty_trash(self) -> int:
        """Delete for good what is in the trash, and tell how many those were."""
        there = self.trashed()
        for each in there:
            with suppress(FileNotFoundError):
                each.path.unlink()
        return len(there)


def _named(id: str, among: Sequence[Hung]) -> Hung:
    for each in among:
        if each.id == id:
            return each
    raise NoSuchPictureError(id)


def _moved(hung: Hung, folder: Path) -> Hung:
    """Move a picture, under a name that is free there; nothing is ever written over."""
    number = 1
    while True:
        name = hung.name if number == 1 else f"{hung.path.stem}-{number}{hung.path.suffix}"
        path = folder / name
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))  # takes the name, so that no other mover does
        except FileExistsError:
            number += 1
            continue
        try:
            hung.path.replace(path)
        except FileNotFoundError as error:  # somebody was faster
            path.unlink(missing_ok=True)
            raise NoSuchPictureError(hung.id) from error
        return Hung(id_of(name), path, hung.changed, hung.bytes)
