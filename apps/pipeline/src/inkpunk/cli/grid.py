"""`inkpunk grid`: pictures side by side that differ in one option or two, drawn into one labelled file."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.axes import read_axis
from inkpunk.cli.destinations import make_folder
from inkpunk.cli.drawing import say_what_is_idle
from inkpunk.cli.options import (
    model_options,
    picture_options,
    request_of,
    say_how_it_starts,
    say_what_is_unknown,
    with_options,
)
from inkpunk.cli.progress import with_progress
from inkpunk.cli.prompt import say_what_is_cut
from inkpunk.cli.refusing import refusals
from inkpunk.cli.saving import SAVING_OPTIONS, Saving
from inkpunk.orders.axes import AxisError, OptionAxis, Settings, cross
from inkpunk.pictures.grid_facts import cell_name

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request

AXIS = "OPTION=VALUES"
NEEDS = {"strength": "init", "upscaler": "enlarge"} | {
    f"enlarge-{name}": "enlarge" for name in ("by", "strength", "steps", "sampler")
}
"""Options that decide nothing without another."""


def _axis(context: click.Context, parameter: click.Parameter, text: str | None) -> OptionAxis | None:
    try:
        return None if text is None else read_axis(text, context)
    except AxisError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command()
@click.argument("prompt")
@click.option("--x", metavar=AXIS, callback=_axis, required=True, help="What differs from column to column.")
@click.option("--y", metavar=AXIS, callback=_axis, help="What differs from row to row.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="A .png, .jpg, .webp or .avif file, or a folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists.")
@with_options(SAVING_OPTIONS)
@click.option(
    "--save-cells",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Save each picture by itself as well, as soon as it is drawn.",
)
@picture_options
@model_options
def grid(
    x: OptionAxis,
    y: OptionAxis | None,
    out: Path,
    overwrite: bool,
    form: str | None,
    quality: int | None,
    save_cells: Path | None,
    load: Callable[[], "Pipeline"],
    **settings: Any,
) -> None:
    """Draw PROMPT once for each value of an option, or of two, into one labelled picture: an X/Y plot.

    \b
    inkpunk grid "a raven" --x sampler=euler,heun,"DPM++ 2M Karras" --y steps=5,10,20
    inkpunk grid "a raven" --x prompt=raven,fox,owl --y "guidance=2-8[4]"

    OPTION is any option below that decides a picture, without its dashes, and VALUES stand between commas; double
    quotes keep a comma within a value. For numbers, 5-20 counts by one, 5-20(+5) by five, and 2-8[4] gives four
    numbers from 2 to 8. prompt=raven,fox looks for the first value in the prompt, and in the negative one, and puts
    each value in its place (Prompt S/R). All cells have the same seed, unless an axis is the seed.
    """
    with refusals():
        saving = Saving.read(
            out, form, quality, overwrite, alpha=save_cells is not None and settings["keep_alpha"]
        )
    _refuse_idle_axes(x, y, settings)
    with refusals():
        from inkpunk.request import Request
        from inkpunk.road.grid import draw_grid

        if settings["seed"] is None:  # the same in all cells
            settings["seed"] = Request("").seeds[0]
        # Whatever can be refused without the model is refused before the model is loaded.
        cells = _cells(settings, x, y)
        requests = _requests(cells, x, y)
        saving.prepare()
        if save_cells is not None:
            make_folder("--save-cells", save_cells)
        pipeline = load()
        requests = _with_inits(requests, cells, pipeline)
        prompts = {(each.like, each.prompt, each.negative_prompt): each for row in requests for each in row}
        for request in prompts.values():
            say_what_is_cut(request, pipeline.tokenizer)
            for note in pipeline.notes_of(request):
                click.echo(note, err=True)
        saved = list[Path]()
        drawn = None
        title = f"{len(x.axis.values)} x {len(y.axis.values) if y else 1} cells"
        drawing = draw_grid(pipeline, requests, x.axis, y and y.axis, form=saving.form)
        first, *others = (partial(pipeline.plan, request) for row in requests for request in row)
        say_what_is_idle(first(), *others)
        try:
            # closed, so that the bar ends before anything is told
            with closing(with_progress(drawing, title)) as steps:
                for step in steps:
                    if step.picture is not None and save_cells is not None:
                        saved.append(saving.save_into(save_cells, step.picture))
                    drawn = step.grid
        finally:
            for path in saved:
                click.echo(path)
        assert drawn is not None  # the last step has it
        click.echo(saving.save(drawn))
        cells = [facts for row in drawn.grid.cells for facts in row]
        say_what_is_unknown(
            next((facts for facts in cells if not facts.model_hash), drawn.facts)
        )  # once for all


def _refuse_idle_axes(x: OptionAxis, y: OptionAxis | None, settings: Settings) -> None:
    names = {axis.axis.name for axis in (x, y) if axis}
    for name, needed in NEEDS.items():
        if name in names and needed not in names and settings[needed] is None:
            raise click.UsageError(
                f"{name} decides nothing without --{needed}: give it, or choose another axis"
            )


def _cells(settings: Settings, x: OptionAxis, y: OptionAxis | None) -> list[list[Settings]]:
    try:
        return cross(settings, x, y)
    except AxisError as error:
        raise click.UsageError(str(error)) from error


def _requests(cells: list[list[Settings]], x: OptionAxis, y: OptionAxis | None) -> list[list["Request"]]:
    from inkpunk.road.errors import RequestError

    requests = list[list["Request"]]()
    for row, line in enumerate(cells):
        requests.append([])
        for column, cell in enumerate(line):
            without_init: dict[str, Any] = {**cell, "init": None}
            try:
                requests[-1].append(request_of(**without_init))  # see _with_inits
            except RequestError as error:
                name = cell_name(x.axis, y and y.axis, column, row)
                raise RequestError(f"{name}: {error}") from error
    return requests


def _with_inits(
    requests: list[list["Request"]], cells: list[list[Settings]], pipeline: "Pipeline"
) -> list[list["Request"]]:
    """Add the pictures to start from: each is read, and made to fit, once for each size; more are not kept."""
    fitted = dict[object, tuple[Any, tuple[int, int]]]()

    def with_its_init(request: "Request", init: Path | None) -> "Request":
        if init is None:
            return request
        from inkpunk.pictures.fitting import fitted as brought_to
        from inkpunk.pictures.paths import noted

        key = init, request.width, request.height, request.resize, request.keep_alpha
        if key not in fitted:
            whole = replace(request, init=init)
            size = pipeline.size(whole)
            say_how_it_starts(whole, size)
            assert whole.picture is not None  # it was read
            if whole.enlarge is not None:  # which it is as it is
                return whole
            small = noted(brought_to(whole.picture, size, whole.resize), init)
            fitted[key] = whole.init if request.keep_alpha else small, size
        kept, (width, height) = fitted[key]
        return replace(request, init=kept, width=width, height=height)

    return [
        [with_its_init(request, cell["init"]) for request, cell in zip(row, line, strict=True)]
        for row, line in zip(requests, cells, strict=True)
    ]
