"""The tab Grids: pictures that differ in one option or two, drawn as one job, and put into one labelled picture."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import gradio as gr
from inkpunk.orders.axes import PROMPT, AxisError, OptionAxis, cross
from inkpunk.orders.options import FILE
from inkpunk.orders.order import Order
from inkpunk.orders.order_axes import read_order_axis
from inkpunk.orders.values import OrderError
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.grid import lay_out
from inkpunk.pictures.grid_picture import composed
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.reading import MOST_PIXELS, read_picture

from inkpunk_studio.page.drawing import QUIET, REMEMBERED, Shown, Stage, stop
from inkpunk_studio.page.fields import label_of, told
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.shared import Shared, stays
from inkpunk_studio.page.stage import address
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import PICTURE_OPTIONS
from inkpunk_studio.work.book import QueueFullError
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError
from inkpunk_studio.work.limits import ACCEPTED

FIRST = ("sampler", "steps", "guidance", "seed", "negative", "model", "lora")
"""The axes that are looked for most, after the prompt."""
NONE = ""
HELP = (
    "Values stand between commas. Of numbers, 5-20 counts by one, 5-20(+5) by five, 2-8[4] gives four from 2 to 8. "
    "The prompt's first value is looked for in it, and the others take its place. All else is as Draw has it."
)


@dataclass(frozen=True)
class Table:
    """What a grid shows.

    Attributes:
        x: what differs from column to column.
        y: what differs from row to row; None for a single row.
        orders: of its cells, row by row.
    """

    x: OptionAxis
    y: OptionAxis | None
    orders: tuple[Order, ...]

    @classmethod
    def read(cls, values: dict[str, object], x: str, y: str | None, most: int) -> "Table":
        """Read axes, and give each cell its order; all have one seed, unless an axis is the seed.

        Args:
            values: of options, for all cells.
            x, y: axes as `inkpunk grid` takes them: "steps=5,10,20".
            most: cells.

        Raises:
            AxisError: for axes that cannot be.
            OrderError: for a cell that cannot be drawn.
        """
        across, down = (read_order_axis(each, axes()) if each else None for each in (x, y))
        if across is None:
            raise AxisError("there is no axis; choose what differs from column to column, and its values")
        count = len(across.settings) * (len(down.settings) if down else 1)
        if count > most:
            raise AxisError(f"{count} cells; give at most {most}")
        [same] = orders_of(values, 1, 1)
        cells = [cell for row in cross(same.values, across, down) for cell in row]
        return cls(across, down, tuple(Order.read(cell) for cell in cells))

    def saved(self, job: Job, folder: Path) -> Path:
        """Put the pictures of a job that drew the cells together, and save the whole.

        Raises:
            PictureError: for a cell that is not there, or a grid that cannot be saved.
        """
        drawn = {each.order: each.path for each in job.drawn}
        missing = len(self.orders) - len(drawn)
        if missing:
            raise PictureError(
                f"{missing} of {len(self.orders)} cells were not drawn, so that there is no grid"
            )
        cells = [Picture(read_picture(drawn[place]), read_facts(drawn[place])) for place in sorted(drawn)]
        wide = len(self.x.settings)
        rows = [cells[start : start + wide] for start in range(0, len(cells), wide)]
        y = self.y.axis if self.y else None
        sizes = [[cell.image.size for cell in row] for row in rows]
        width, height = lay_out(sizes, self.x.axis.labels, y.labels if y else [""], "").size
        if width * height > MOST_PIXELS:
            raise PictureError(
                f"a grid of {width} x {height} pixels is too large; its cells are in the gallery"
            )
        return composed(rows, self.x.axis, y).save_into(folder)


def axes() -> tuple[str, ...]:
    """The options that can differ within a grid, the usual ones first."""
    rest = ACCEPTED - {*FIRST, *PICTURE_OPTIONS, PROMPT, *FILE}
    return (*FIRST, *sorted(rest))


class Assembly:
    """Waits for a grid's cells in a thread of its own, so that it comes to be although the page is closed."""

    def __init__(self, desk: Desk, job: Job, table: Table, folder: Path) -> None:
        """Begin to wait.

        Args:
            desk: that draws.
            job: that has the cells.
            table: what they show.
            folder: the gallery.
        """
        self.path: Path | None = None
        self.error: str | None = None
        self._thread = Thread(target=partial(self._wait, desk, job.id, table, folder), daemon=True)
        self._thread.start()

    def wait(self) -> "Assembly":
        """Wait until the grid is there, or known not to come."""
        self._thread.join()
        return self

    def _wait(self, desk: Desk, id: str, table: Table, folder: Path) -> None:
        try:
            job = desk.wait(id)
            if job.state == "done":
                self.path = table.saved(job, folder)
            else:
                self.error = (
                    job.error or "it was stopped, so that there is no grid; what is drawn is in the gallery"
                )
        except (NoSuchJobError, PictureError, OSError) as error:
            self.error = str(error)


def axis_of(name: str | None, values: str) -> str | None:
    """An axis as `inkpunk grid` takes it; None where none is chosen."""
    return f"{name}={values}" if name else None


def grids_tab(desk: Desk, settings: Settings, shared: Shared) -> None:
    """Fill the tab Grids.

    Args:
        desk: where pictures are asked for.
        settings: how many may be asked for at once.
        shared: what the tabs share: all but the axes is as Draw has it.
    """
    choices = [(label_of(each), each) for each in (PROMPT, *axes())]
    gr.Markdown(HELP)
    with gr.Row():
        x = gr.Dropdown(choices, value="sampler", label="From column to column", elem_id="grid-x", scale=1)
        of_x = gr.Textbox("euler, heun, dpmpp_2m", label="Values across", elem_id="grid-x-values", scale=3)
    with gr.Row():
        y = gr.Dropdown(
            [("nothing", NONE), *choices], value="steps", label="From row to row", elem_id="grid-y"
        )
        of_y = gr.Textbox("5, 10, 20", label="Values down", elem_id="grid-y-values", scale=3)
    with gr.Row():
        go = gr.Button("Draw the grid", variant="primary", elem_id="grid-now", elem_classes="draws")
        halt = gr.Button("Stop", elem_id="grid-stop", elem_classes="stops")
    stage = Stage(
        gr.HTML("", elem_classes="stage-box"), gr.HTML("", elem_classes="unseen"), gr.State(None), shared.jobs
    )

    async def draw(
        request: gr.Request, known: list[str] | None, x: str, of_x: str, y: str, of_y: str, *shown: Any
    ) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash)
        try:
            table = Table.read(
                told(shared.fields, shown),
                axis_of(x, of_x) or "",
                axis_of(y, of_y),
                settings.most_pictures,
            )
            job = await asyncio.to_thread(desk.submit, table.orders, client="page: grid")
        except (AxisError, OrderError, ValueError, QueueFullError) as error:
            yield stage.refused(error)
            return
        assembly = Assembly(desk, job, table, settings.pictures)
        yield stays(), stays(), job.id, remembered(known, job.id)
        async for each in stage.followed(desk, turn, job):
            yield each
        if stage.turns.is_newest(turn):
            done = await asyncio.to_thread(assembly.wait)
            yield (
                (figure(done.path, table), stays(), stays(), stays())
                if done.path
                else stage.refused(PictureError(done.error or ""))
            )

    go.click(draw, [shared.jobs, x, of_x, y, of_y, *shared.components], stage.outputs, **QUIET)

    def stopped(id: str | None) -> None:
        stop(desk, id)

    halt.click(stopped, stage.current, None, queue=False, show_progress="hidden")


def remembered(known: Sequence[str] | None, id: str) -> list[str]:
    """A browser's jobs, with one more."""
    return [*(known or []), id][-REMEMBERED:]


def figure(path: Path, table: Table) -> str:
    """A grid, shown."""
    size = f"{len(table.x.settings)} x {len(table.y.settings) if table.y else 1}"
    where = address(path)
    return (
        f'<div class="stage"><figure class="drawn"><a href="{where}" target="_blank" rel="noopener" '
        f'aria-label="Open the grid"><img src="{where}" alt="A grid of {size} pictures"></a></figure></div>'
    )
