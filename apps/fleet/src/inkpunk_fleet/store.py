"""Where pictures and rows are kept: a folder that all workers see, or an object store, by its URL."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from inkpunk.orders.folder import is_whole
from inkpunk.pictures.atomic import write_atomically

WHOLE_PUTS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "memory")
"""Protocols whose objects are there whole or not at all; elsewhere a file gets its name when it is whole."""


class StoreError(Exception):
    """A place that cannot be used, or not any more; the message says why."""


class Store:
    """A folder by its path or URL. Names in it are relative, with / between folders."""

    def __init__(self, url: str) -> None:
        """Begin with a folder, which is made if it is not there.

        Args:
            url: a path, or a URL as fsspec takes it, such as s3://bucket/pictures.

        Raises:
            StoreError: for a protocol that there is not, or whose library is missing, and what cannot be written.
        """
        self.url = url
        fsspec: Any = import_module("fsspec")
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
            protocols = self._files.protocol
            self._protocols = (protocols,) if isinstance(protocols, str) else tuple(protocols)
            self.local = Path(self._root) if "file" in self._protocols else None
            if self.local:
                self.local.mkdir(parents=True, exist_ok=True)
            else:
                self._files.makedirs(self._root, exist_ok=True)
        except Exception as error:  # of any store's library
            raise StoreError(f"{url}: cannot be used: {' '.join(str(error).split())}") from error

    def has(self, name: str) -> bool:
        """Whether a file is there, and all of it, as far as that can be told without reading it.

        Raises:
            StoreError: if the store does not answer.
        """
        if self.local:
            return is_whole(self.local / name)
        with self._answering():
            return self._size(name) > 0

    def put(self, name: str, data: bytes) -> bool:
        """Write a file, whole or not at all; False if somebody else has written it in the meantime.

        Raises:
            StoreError: if it cannot be written: the disk is full, or the store does not answer.
        """
        with self._answering():
            try:
                if self.local:
                    path = self.local / name
                    path.parent.mkdir(exist_ok=True)
                    write_atomically(path, data, overwrite=path.exists() and not is_whole(path))
                else:
                    self._put_elsewhere(name, data)
            except FileExistsError:
                return False
            return True

    def read(self, name: str) -> bytes | None:
        """A file's content; None if there is no such file.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._answering():
            try:
                return (
                    (self.local / name).read_bytes() if self.local else self._files.cat_file(self._path(name))
                )
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        """The names of a folder's files, in order; none for a folder that is not there.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._answering():
            self._files.invalidate_cache()  # others write here, too
            try:
                paths = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            found = (PurePosixPath(str(path)).name for path in paths)
            return sorted(f"{folder}/{name}" for name in found if not name.startswith("."))

    def _put_elsewhere(self, name: str, data: bytes) -> None:
        path, there = self._path(name), self._size(name)
        if there > 0:
            raise FileExistsError
        if {*self._protocols} & {*WHOLE_PUTS}:
            # two that come at once: where the store can, the second is refused
            self._files.pipe_file(path, data, mode="overwrite" if there == 0 else "create")
            return
        folder, _, last = path.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{secrets.token_hex(8)}.tmp"
        try:
            self._files.pipe_file(temporary, data)
            self._files.mv(temporary, f"{folder}/{last}")
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(temporary)
            raise

    def _size(self, name: str) -> int:
        """A file's size in bytes; -1 if there is none."""
        self._files.invalidate_cache()  # others write here, too
        try:
            return int(self._files.info(self._path(name))["size"] or 0)
        except FileNotFoundError:
            return -1

    def _path(self, name: str) -> str:
        return f"{str(self._root).rstrip('/')}/{name}"

    @contextmanager
    def _answering(self) -> Generator[None]:
        try:
            yield
        except Exception as error:  # each store's library has its own
            said = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
            raise StoreError(
                f"{self.url}: {said or type(error).__name__}; what is done stays: make room, or mend it, and give "
                "the same command again"
            ) from error
