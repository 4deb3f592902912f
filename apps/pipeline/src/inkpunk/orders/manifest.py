"""The manifest of a folder of pictures: a line of JSON for each that was drawn or failed, appended, never changed."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Row:
    """What became of an order.

    Attributes:
        key: `Order.key`; of what has none, a line that cannot be read or names a file that is gone, another hash that
            tells it from all others.
        file: the picture's name in the folder; None for one that failed.
        sha256: of the whole file, 64 hex digits.
        bytes: its size.
        seconds: how long it took to draw, or to fail; None where that is not known any more.
        error: why it failed; None for one that is done.
        line: where it stands in the file of requests, from 1; None if it came from none.
        order: what was asked for, as `Order.values`; None for a line that cannot be read.
        at: when, in UTC, as ISO 8601 writes it.
    """

    key: str
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    seconds: float | None = None
    error: str | None = None
    line: int | None = None
    order: Mapping[str, Any] | None = None
    at: str | None = None

    def to_json(self) -> str:
        """The row as a line, without its end."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        if told["order"] is not None:
            told["order"] = dict(told["order"])
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> "Row | None":
        """Read a line; None for one that is no whole row. What a later version adds is passed over."""
        try:
            told: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(told, dict):
            return None
        values = cast("dict[str, Any]", told)
        known: dict[str, Any] = {each.name: values.get(each.name) for each in fields(cls)}
        if not isinstance(known["key"], str) or not isinstance(known["file"], str | None):
            return None
        return cls(**known)


def row_of_picture(
    key: str, file: str, data: bytes, seconds: float | None, line: int, order: Mapping[str, Any] | None
) -> Row:
    """The row of a picture that is there; `data`: all of its file."""
    return Row(
        key,
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        seconds=None if seconds is None else round(seconds, 3),
        line=line,
        order=order,
        at=now(),
    )


def now() -> str:
    """The time as rows tell it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_rows(path: Path) -> Iterator[Row]:
    """Read a manifest from its beginning; what a kill or a power cut tore is passed over. No file has no rows."""
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if row := Row.from_json(line):
                yield row


class Manifest:
    """A manifest that is open for appending; any number of processes may append to one.

    A row is written in one go to the end of the file, so that rows of several processes never mix (on network file
    systems, where `O_APPEND` does not hold across machines, each machine needs a folder of its own). It is then safe
    from whatever ends the process. It reaches the disk with `close`, or when the system sees fit: a power cut may
    take the last rows, which are added again for the pictures that are there.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            OSError: if that cannot be.
        """
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)

    def append(self, row: Row) -> None:
        """Add a row; on a line of its own, also where the last one is torn.

        Raises:
            OSError: if it cannot be written whole: the disk is full.
        """
        data = row.to_json().encode() + b"\n"
        if os.fstat(self._file).st_size:
            os.lseek(self._file, -1, os.SEEK_END)
            if os.read(self._file, 1) != b"\n":
                data = b"\n" + data
        while data:  # a disk that is full takes a part, and refuses the rest
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Have all rows reach the disk, and close the file."""
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)
