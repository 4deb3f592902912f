"""Files and folders that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.leftovers import clear_leftovers


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Generator[BinaryIO]:
    """Write a file under another name beside `path`; it takes its place once all of it is on the disk.

    Raises:
        CheckpointError: if there is something at `path` and `overwrite` is false, or it is a folder.
    """
    _refuse_existing(path, overwrite)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder; give the name of a file")
    clear_leftovers(path.parent)
    partial = _partial(path)
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _refuse_existing(path, overwrite)
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, *, mark: str, overwrite: bool = False) -> Generator[Path]:
    """Fill a folder under another name beside `path`; it takes its place once it is whole.

    Args:
        path: where it shall be.
        mark: a file that a folder must have, or be empty, to be overwritten: no other folder is ever deleted.
        overwrite: replace what is there.

    Raises:
        CheckpointError: if there is something at `path` that may not be overwritten.
    """
    _refuse_existing(path, overwrite)
    if path.exists() and not (path.is_dir() and ((path / mark).exists() or not any(path.iterdir()))):
        raise CheckpointError(
            f"{path}: is not a folder with a {mark}, so it is not overwritten; choose another name"
        )
    clear_leftovers(path.parent)
    partial, old = _partial(path), _partial(path)
    try:
        partial.mkdir()
        yield partial
        for folder in (partial, *(child for child in partial.iterdir() if child.is_dir())):
            _sync_folder(folder)
        _refuse_existing(path, overwrite)
        if path.exists():
            path.replace(old)
        try:
            partial.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path}: exists already; choose another name or pass overwrite=True")
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {path.parent}; create it first")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some systems cannot sync a folder; the files in it are safe by themselves
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
