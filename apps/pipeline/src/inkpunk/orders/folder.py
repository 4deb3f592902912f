"""A folder that a batch fills: which pictures are in it, who draws which, and what became of each order."""

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inkpunk.orders.claims import Claims
from inkpunk.orders.files import Entry
from inkpunk.orders.history import History
from inkpunk.orders.manifest import NAME, Manifest, Row, now, row_of_picture
from inkpunk.orders.naming import file_name
from inkpunk.orders.order import Order
from inkpunk.orders.tally import fingerprint
from inkpunk.pictures.atomic import write_atomically
from inkpunk.pictures.picture import Picture

State = Literal["drawn", "there", "failed", "failed before"]
PNG_END = b"IEND\xaeB`\x82"


class FolderError(Exception):
    """The folder cannot be written any more: it is full, or gone. The message says what to do."""


@dataclass(frozen=True)
class Outcome:
    """What became of an order.

    Attributes:
        line: where it stands in its file.
        state: "drawn", "there" (its picture was in the folder already), "failed", or "failed before" (at an earlier
            time, and it was not tried again).
        path: its picture.
        error: why it failed; of one that failed before, the manifest tells.
        idle: what it asks for that changes nothing, a line each.
    """

    line: int
    state: State
    path: Path | None = None
    error: str = ""
    idle: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Job:
    """An order that is to be drawn.

    Attributes:
        line: where it stands in its file.
        order: what is asked for.
        key: the order's.
        file: its picture's name in the folder.
    """

    line: int
    order: Order
    key: str
    file: str


class Folder:
    """A folder of pictures by their orders' names, with a manifest.

    A picture is done when its file is there, whole: it gets its name when all of it is on the disk, and a row of the
    manifest afterwards. A row that a kill has lost is added when the picture is met again.
    """

    def __init__(self, path: Path, *, retry_failed: bool = False) -> None:
        """Begin in a folder that is there.

        Args:
            path: the folder.
            retry_failed: try those again that failed at an earlier time.

        Raises:
            FolderError: if it cannot be written.
        """
        self.path = path
        with self._written():
            self._manifest = Manifest(path / NAME)
            self._claims = Claims(path)
            self._history = History(path / NAME)
        if retry_failed:
            self._history.forget_failures()

    def close(self) -> None:
        """Have the manifest reach the disk, and give all claims back."""
        self._claims.close()
        with self._written():
            self._manifest.close()

    def meet(self, entry: Entry) -> Job | Outcome:
        """What is to be done for an entry, or what has become of it already."""
        if entry.order is None:
            return self._refuse(entry.line, entry.error, key_of_text(entry.text))
        try:
            job = Job(entry.line, entry.order, entry.order.key, file_name(entry.order))
        except Exception as error:  # it names a file wrongly, or one that cannot be read
            key = key_of_text(json.dumps(dict(entry.order.values), sort_keys=True))
            return self._refuse(entry.line, in_words(error), key, entry.order)
        return self.settled(job) or job

    def settled(self, job: Job) -> Outcome | None:
        """What has become of a job, if anything has."""
        path = self.path / job.file
        if is_whole(path):
            if not self._history.is_done(job.key):
                self._add_lost_row(job)
            return Outcome(job.line, "there", path)
        return Outcome(job.line, "failed before") if self._history.has_failed(job.key) else None

    def claim(self, job: Job) -> bool:
        """Claim a job; False while another process has it. What became of it until now is then known."""
        if not self._claims.take(fingerprint(job.key)):
            return False
        self._history.refresh()
        return True

    def release(self, job: Job) -> None:
        """Give a claim back."""
        self._claims.release(fingerprint(job.key))

    def keep(self, job: Job, picture: Picture, seconds: float) -> Outcome:
        """Save a picture under its order's name, and add its row.

        Raises:
            FolderError: if it cannot be written: the disk is full.
        """
        try:
            data = picture.file(job.order.form, job.order.quality)
        except Exception as error:  # of this one: its format cannot hold it
            return self.fail(job, in_words(error), seconds)
        path = self.path / job.file
        with self._written():
            try:
                write_atomically(path, data, overwrite=path.exists() and not is_whole(path))
            except FileExistsError:  # of somebody who claims nothing
                return self.settled(job) or Outcome(job.line, "there", path)
        self._append(_row(job, data, seconds))
        return Outcome(job.line, "drawn", path)

    def fail(self, job: Job, error: str, seconds: float | None = None) -> Outcome:
        """Add a row that says why there is no picture."""
        return self._fail(job.line, error, job.key, job.order, seconds)

    def _refuse(self, line: int, error: str, key: str, order: Order | None = None) -> Outcome:
        """Tell what is wrong with a line each time that it is met, and add one row of it."""
        if self._history.has_failed(key):
            return Outcome(line, "failed", error=error)
        outcome = self._fail(line, error, key, order)
        self._history.refresh()
        return outcome

    def _fail(
        self, line: int, error: str, key: str, order: Order | None, seconds: float | None = None
    ) -> Outcome:
        values = order.values if order else None
        self._append(Row(key, error=error, seconds=seconds, line=line, order=values, at=now()))
        return Outcome(line, "failed", error=error)

    def _add_lost_row(self, job: Job) -> None:
        """Add the row of a picture that is there, unless whoever drew it is about to, or has."""
        if self.claim(job):
            if not self._history.is_done(job.key):
                with self._written():
                    data = (self.path / job.file).read_bytes()
                self._append(_row(job, data, None))
                self._history.refresh()
            self.release(job)

    def _append(self, row: Row) -> None:
        with self._written():
            self._manifest.append(row)

    @contextmanager
    def _written(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise FolderError(
                f"{self.path}: {error.strerror or error}; what is done stays: make room, or mend it, and give the "
                "same command again"
            ) from error


def is_whole(path: Path) -> bool:
    """Whether a picture is there and all of it, as far as its size and a PNG's last bytes tell.

    What is written here gets its name when it is whole; what was copied in half, or claimed its name where a file
    system has no links, is drawn again.
    """
    try:
        with path.open("rb") as file:
            if path.suffix != ".png":
                return os.fstat(file.fileno()).st_size > 0
            if os.fstat(file.fileno()).st_size < len(PNG_END):
                return False
            file.seek(-len(PNG_END), os.SEEK_END)
            return file.read() == PNG_END
    except OSError:
        return False


def in_words(error: BaseException) -> str:
    """An error in one line: ours are made to be read; of others, the kind says most."""
    from inkpunk.memory.shortage import asked_for, is_shortage

    if is_shortage(error):
        asked = asked_for(error)
        return f"not enough memory{f' for {asked} more' if asked else ''}"
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return f"{error.filename}: {error.strerror}"
    said = " ".join(str(error).split())[:1000]
    ours = type(error).__module__.startswith("inkpunk")
    return said if ours else f"{type(error).__name__}: {said}"


def _row(job: Job, data: bytes, seconds: float | None) -> Row:
    return row_of_picture(job.key, job.file, data, seconds, job.line, job.order.values)


def key_of_text(text: str) -> str:
    """A key of what is no order."""
    return hashlib.sha256(f"no order\n{text}".encode(errors="surrogatepass")).hexdigest()
