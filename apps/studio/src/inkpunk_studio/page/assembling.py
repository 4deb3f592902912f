"""Grids on their way: each is put together when its cells are drawn, though page and studio be closed meanwhile."""

import json
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from inkpunk.pictures.atomic import write_atomically
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.grid import lay_out
from inkpunk.pictures.grid_facts import Axis
from inkpunk.pictures.grid_picture import composed
from inkpunk.pictures.picture import Picture, PictureExistsError
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.reading import MOST_PIXELS, read_picture

from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError

FOLDER = "grids"
"""Of axes, a file for each grid that is not there yet, beside the unfinished jobs."""
REMEMBERED = 100
"""Grids of which is known what became of them."""


@dataclass(frozen=True)
class Axes:
    """How the cells of a grid lie, row by row.

    Attributes:
        x: what differs from column to column.
        y: what differs from row to row; None for a single row.
    """

    x: Axis
    y: Axis | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Axes":
        """From what `asdict` makes of them, by way of JSON.

        Raises:
            KeyError, TypeError: for anything else.
        """
        x, y = (
            Axis(str(each["name"]), tuple(map(str, each["values"]))) if each is not None else None
            for each in (told["x"], told["y"])
        )
        if x is None:
            raise TypeError("no axis")
        return cls(x, y)


class Assembler:
    """Waits for the cells of grids, each in a thread of its own."""

    def __init__(self, desk: Desk, state: Path) -> None:
        """Begin with none; `take_up` goes on with those of an earlier run.

        Args:
            desk: that draws the cells.
            state: the folder of what is unfinished.
        """
        self._desk, self._folder = desk, state / FOLDER
        self._coming = dict[str, Future[Path]]()

    def begin(self, job: Job, axes: Axes) -> None:
        """Put the pictures of a job together, once it is done."""
        with suppress(OSError):  # as on a full disk: it comes nevertheless, if the studio goes on
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._note(job.id), json.dumps(asdict(axes)).encode())
        self._wait_for(job.id, axes)

    def take_up(self) -> None:
        """Go on with what an earlier run left; the desk must be open."""
        for each in self._folder.glob("*.json"):
            try:
                axes = Axes.read(json.loads(each.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError):
                each.unlink(missing_ok=True)
            else:
                self._wait_for(each.stem, axes)

    def grid(self, id: str) -> Path | None:
        """The grid of a job, waited for; None of a job that has none.

        Raises:
            PictureError: it does not come; the message says why.
        """
        coming = self._coming.get(id)
        if coming is not None:
            return coming.result()
        with suppress(NoSuchJobError):
            path = grid_path(self._desk.job(id))
            return path if path is not None and path.exists() else None
        return None

    def _note(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _wait_for(self, id: str, axes: Axes) -> None:
        coming = self._coming[id] = Future[Path]()
        while len(self._coming) > REMEMBERED:
            del self._coming[next(iter(self._coming))]
        Thread(target=self._work, args=(id, axes, coming), daemon=True).start()

    def _work(self, id: str, axes: Axes, coming: Future[Path]) -> None:
        try:
            job = self._desk.wait(id)
            if not job.is_over:
                coming.set_exception(PictureError("the studio is being ended; its next start goes on"))
                return
            coming.set_result(put_together(job, axes))
        except Exception as error:  # there are other grids
            coming.set_exception(PictureError(str(error)))
        self._note(id).unlink(missing_ok=True)


def put_together(job: Job, axes: Axes) -> Path:
    """Lay out the pictures of a job, and save the whole beside them, unless that was done before.

    Raises:
        PictureError: for a cell that is not there, or a grid that cannot be saved.
    """
    if job.state != "done":
        raise PictureError(job.error or "stopped, so that there is no grid; what is drawn is in the gallery")
    drawn, path = {each.order: each.path for each in job.drawn}, grid_path(job)
    if path is None or len(drawn) < len(job.orders):
        raise PictureError(
            f"{len(job.orders) - len(drawn)} of {len(job.orders)} cells were not drawn, so that there is no grid"
        )
    if path.exists():
        return path
    cells = [Picture(read_picture(drawn[place]), read_facts(drawn[place])) for place in sorted(drawn)]
    wide = len(axes.x.values)
    rows = [cells[start : start + wide] for start in range(0, len(cells), wide)]
    sizes = [[cell.image.size for cell in row] for row in rows]
    width, height = lay_out(sizes, axes.x.labels, axes.y.labels if axes.y else [""], "").size
    if width * height > MOST_PIXELS:
        raise PictureError(f"a grid of {width} x {height} pixels is too large; its cells are in the gallery")
    with suppress(PictureExistsError):
        composed(rows, axes.x, axes.y).save(path)
    return path


def grid_path(job: Job) -> Path | None:
    """Where a job's grid belongs: beside its cells, under a name that follows from theirs; None before the first one.

    So a grid that is there was made of them, whatever ended the studio before that could be noted.
    """
    if not job.drawn:
        return None
    cell = job.drawn[0].path
    return cell.with_name(f"{cell.stem.rpartition('-')[0]}-grid.png")
