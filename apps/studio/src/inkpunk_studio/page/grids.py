"""The tab Grids: pictures that differ in one option or two, drawn as one job, and put into one labelled picture."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from inkpunk.orders.axes import PROMPT, AxisError, cross
from inkpunk.orders.options import FILE
from inkpunk.orders.order import Order
from inkpunk.orders.order_axes import read_order_axis
from inkpunk.pictures.facts import PictureError

from inkpunk_studio.page.assembling import Assembler, Axes
from inkpunk_studio.page.drawing import AT_ONCE, QUIET, REFUSED, REMEMBERED, Shown, Stage, stop
from inkpunk_studio.page.fields import label_of, told
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.shared import GRID, Shared, stays
from inkpunk_studio.page.stage import address
from inkpunk_studio.page.turns import Turn
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import PICTURE_OPTIONS
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job
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
        axes: what differs, and how.
        orders: of its cells, row by row.
    """

    axes: Axes
    orders: tuple[Order, ...]

    @classmethod
    def read(cls, values: dict[str, object], x: str | None, y: str | None, most: int) -> "Table":
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
        return cls(Axes(across.axis, down.axis if down else None), tuple(Order.read(cell) for cell in cells))


@dataclass(frozen=True)
class GridsTab:
    """What a reopened page takes from Grids.

    Attributes:
        assembler: that puts the cells together.
        stage: where they come, and then the grid.
    """

    assembler: Assembler
    stage: Stage

    async def followed(self, desk: Desk, turn: Turn, job: Job) -> AsyncIterator[Shown]:
        """Show the cells as they come, and then the whole, while it is the asking's turn."""
        async for shown in self.stage.followed(desk, turn, job):
            yield shown
        if not self.stage.turns.is_newest(turn):
            return
        try:
            path = await asyncio.to_thread(self.assembler.grid, job.id)
        except PictureError as error:
            yield self.stage.refused(error)
            return
        if path is not None:
            yield figure(path, len(job.orders)), stays(), stays(), stays()


def axes() -> tuple[str, ...]:
    """The options that can differ within a grid, the usual ones first."""
    rest = ACCEPTED - {*FIRST, *PICTURE_OPTIONS, PROMPT, *FILE}
    return (*FIRST, *sorted(rest))


def axis_of(name: str | None, values: str) -> str | None:
    """An axis as `inkpunk grid` takes it; None where none is chosen."""
    return f"{name}={values}" if name else None


def grids_tab(desk: Desk, settings: Settings, shared: Shared, assembler: Assembler) -> GridsTab:
    """Fill the tab Grids.

    Args:
        desk: where pictures are asked for.
        settings: how many may be asked for at once.
        shared: what the tabs share: all but the axes is as Draw has it.
        assembler: that puts the cells together.
    """
    choices = [(label_of(each), each) for each in (PROMPT, *axes())]
    gr.Markdown(HELP, elem_classes="hint")
    with gr.Row():
        x = gr.Dropdown(choices, value="sampler", label="Columns", elem_id="grid-x", scale=1)
        of_x = gr.Textbox("euler, heun, dpmpp_2m", label="Values across", elem_id="grid-x-values", scale=3)
    with gr.Row():
        y = gr.Dropdown([("nothing", NONE), *choices], value="steps", label="Rows", elem_id="grid-y", scale=1)
        of_y = gr.Textbox("5, 10, 20", label="Values down", elem_id="grid-y-values", scale=3)
    with gr.Row(elem_classes="go short"):
        go = gr.Button("Draw the grid", variant="primary", elem_id="grid-now", elem_classes="draws")
        halt = gr.Button("Stop", elem_id="grid-stop", elem_classes="stops")
    stage = Stage.make("grid", shared.jobs, GRID)
    tab = GridsTab(assembler, stage)

    async def draw(
        request: gr.Request, known: list[str] | None, x: str, of_x: str, y: str, of_y: str, *shown: Any
    ) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash)
        try:
            table = Table.read(
                told(shared.fields, shown), axis_of(x, of_x), axis_of(y, of_y), settings.most_pictures
            )
            job = await asyncio.to_thread(desk.submit, table.orders, client=GRID)
        except REFUSED as error:
            yield stage.refused(error)
            return
        assembler.begin(job, table.axes)
        yield stays(), stays(), job.id, [*(known or []), job.id][-REMEMBERED:]
        async for each in tab.followed(desk, turn, job):
            yield each

    go.click(draw, [shared.jobs, x, of_x, y, of_y, *shared.components], stage.outputs, **QUIET)
    halt.click(partial(stop, desk), stage.current, None, **AT_ONCE)
    return tab


def figure(path: Path, cells: int) -> str:
    """A grid, shown."""
    where, name = address(path), escape(path.name, quote=True)
    return (
        f'<div class="stage"><figure class="drawn grid"><a href="{where}" target="_blank" rel="noopener" '
        f'aria-label="Open the grid"><img src="{where}" alt="A grid of {cells} pictures"></a>'
        f'<figcaption><a href="{where}" download="{name}">Save</a></figcaption></figure></div>'
    )
