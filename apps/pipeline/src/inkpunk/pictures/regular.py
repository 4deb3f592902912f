"""Names of pictures that may be opened: opening a pipe waits for whoever writes to it, perhaps for ever."""

from pathlib import Path

from inkpunk.pictures.facts import PictureError


def check_regular(path: Path) -> None:
    """Refuse, before it is opened, what is there and is no file.

    Raises:
        PictureError: for a folder, a pipe, a socket or a device.
        OSError: if it may not be looked at.
    """
    if path.exists() and not path.is_file():
        raise PictureError(
            f"{path}: a {'folder' if path.is_dir() else 'pipe or device'}; give a picture's file"
        )
