"""Many requests drawn into one picture: a grid, as AUTOMATIC1111's "X/Y/Z plot" has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from PIL import Image

from inkpunk.pictures.formats import check_sides
from inkpunk.pictures.grid import lay_out
from inkpunk.pictures.grid_facts import Axis, cell_name
from inkpunk.pictures.grid_picture import GridPicture, composed
from inkpunk.pictures.picture import Picture
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan

MOST_PIXELS = 2 * (
    Image.MAX_IMAGE_PIXELS or 2**62
)  # of a grid: what Pillow, for one, opens without being told to


@dataclass(frozen=True, eq=False)
class GridStep:
    """The state after a sampling step of one of the cells.

    Attributes:
        index: how many steps are done, of all cells together.
        total: how many there are; cells that are alike are drawn, and counted, once.
        picture: a cell's, when this step has finished it.
        grid: the whole, when this step was the last.
    """

    index: int
    total: int
    picture: Picture | None = None
    grid: GridPicture | None = None


def draw_grid(
    pipeline: Pipeline,
    requests: Sequence[Sequence[Request]],
    x: Axis,
    y: Axis | None = None,
    *,
    form: str = "png",
) -> Iterator[GridStep]:
    """Draw a table of requests, yielding the state after every step. Whoever stops iterating stops the work.

    Requests that come to the same are drawn once. The first one's prompt is the grid's title.

    Args:
        pipeline: what draws them.
        requests: by row and column, one seed in each.
        x: what differs from column to column, for the labels above.
        y: what differs from row to row, for the labels on the left; None for a single row.
        form: what it will be saved as.

    Raises:
        RequestError: before the first step: for a cell that cannot be drawn, by its name; for a table of another
            shape than the axes'; for a grid of more pixels than other programs open.
        PictureError: before the first step, for a grid larger than its form can hold.
    """
    _refuse_other_shapes(requests, x, y)
    distinct = list[Request]()
    table = list[list[int]]()  # of each cell, which of the distinct requests it shows
    for row, line in enumerate(requests):
        table.append([])
        for column, request in enumerate(line):
            try:
                whole = _nothing_left_open(pipeline.plan(request))
                if whole not in distinct:
                    pipeline.run(whole)  # refuses what this machine cannot hold, and draws nothing yet
                    distinct.append(whole)
            except RequestError as error:
                raise RequestError(f"{cell_name(x, y, column, row)}: {error}") from error
            table[-1].append(distinct.index(whole))
    plans = [pipeline.plan(request) for request in distinct]
    sizes = [[(plans[cell].width, plans[cell].height) for cell in row] for row in table]
    width, height = lay_out(sizes, x.labels, y.labels if y else [""], distinct[0].prompt).size
    if width * height > MOST_PIXELS:
        raise RequestError(
            f"a grid of {width} x {height} pixels: few programs open more than {MOST_PIXELS:,}; draw fewer or smaller"
        )
    check_sides(form, width, height)
    return _drawn(pipeline, plans, table, x, y)


def _drawn(
    pipeline: Pipeline, plans: Sequence[Plan], table: Sequence[Sequence[int]], x: Axis, y: Axis | None
) -> Iterator[GridStep]:
    totals = [len(plan.path) - 1 for plan in plans]
    total, done = sum(totals), 0
    pictures = list[Picture]()
    for plan in plans:
        latents = None
        for step in pipeline.run(plan.request):
            done += 1
            latents = step.latents
            if step.index < step.total:
                yield GridStep(done, total)
        assert latents is not None  # a run has at least one step
        pictures += pipeline.pictures(plan.request, latents)
        if len(pictures) < len(plans):
            yield GridStep(done, total, pictures[-1])
    yield GridStep(
        done, total, pictures[-1], composed([[pictures[cell] for cell in row] for row in table], x, y)
    )


def _refuse_other_shapes(requests: Sequence[Sequence[Request]], x: Axis, y: Axis | None) -> None:
    columns, rows = len(x.values), len(y.values) if y else 1
    if not columns or [len(row) for row in requests] != [columns] * max(rows, 1):
        raise RequestError(f"grid: the axes have {rows} rows of {columns} values; give a request for each")
    if any(len(request.seeds) != 1 for row in requests for request in row):
        raise RequestError("grid: a cell shows one picture; give one seed in each request")


def _nothing_left_open(plan: Plan) -> Request:
    """The plan as a request, so that a setting is the same whether it was asked for or is the model's."""
    names = {field.name for field in fields(Request)}
    names -= {"regions"}  # of which a plan has what its seeds chose
    if plan.canvas:
        names -= {"width", "height"}  # which would bring the picture to them, and are what the model sees
    decided = {field.name: getattr(plan, field.name) for field in fields(Plan) if field.name in names}
    return replace(plan.request, **decided)
