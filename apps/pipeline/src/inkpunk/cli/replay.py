"""`inkpunk replay`: make a picture again from what it carries, and say whether it is the same."""

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inkpunk.cli.changes import read_changes
from inkpunk.cli.destinations import is_picture_name
from inkpunk.cli.options import say_what_is_unknown
from inkpunk.cli.progress import with_progress
from inkpunk.cli.refusing import refusals
from inkpunk.cli.saving import Saving

if TYPE_CHECKING:
    from inkpunk.orders.order import Order


class TroubleError(click.ClickException):
    """What could not be compared; it exits as cmp and diff do then."""

    exit_code = 2


@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.option(
    "--with",
    "changes",
    multiple=True,
    metavar="OPTION=VALUE,...",
    help="Tell options of `generate` anew, and keep all others, as steps=40,seed=+1: a sign counts on from a number. "
    'Double quotes keep a comma within a value, as prompt="a raven, at dusk"; no value leaves an option out.',
)
@click.option(
    "--models",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Look here for the model, by its hash, and for adapters, where they are not where they were.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Save the new picture, as a file or into a folder."
)
@click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists.")
@click.pass_context
def replay(
    context: click.Context,
    picture: Path,
    changes: tuple[str, ...],
    models: tuple[Path, ...],
    out: Path | None,
    overwrite: bool,
) -> None:
    """Make PICTURE again from what it carries, and say whether it is the same to the last bit.

    If not, what differs is told, in the recipe (model, version, device, precision, files) and in the pixels. It exits
    with 0 if it is the same, with 1 if not, and with 2 where it could not be made.

    --with another value makes another picture, which is saved and not compared. Files that were moved are found by
    their hash, or told by --with, as init=photos/start.png.

    A picture of AUTOMATIC1111, Forge, ComfyUI, InvokeAI or NovelAI is drawn by its recipe, and what of that is not
    followed is told.

    \b
    inkpunk replay raven.png
    inkpunk replay raven.png --with steps=40,seed=+1 --out pictures
    inkpunk replay raven.png --models ~/models --out again.png
    """
    try:
        with refusals():
            same = _replayed(picture, read_changes(changes), models, out, overwrite)
    except click.UsageError:
        raise
    except click.ClickException as error:
        raise TroubleError(error.message) from error
    context.exit(0 if same else 1)


def _replayed(
    path: Path, changes: dict[str, object], models: tuple[Path, ...], out: Path | None, overwrite: bool
) -> bool:
    from inkpunk.orders.replay import as_many_threads, recall
    from inkpunk.pictures.recipe import read_recipe

    if "inkpunk" not in read_recipe(path).texts:
        _draw_other(path, changes, models, out, overwrite)
        return True
    told = recall(path, changes, models)
    request = told.request  # refuses before the model is loaded
    saving = None if out is None else _saving(out, told.order, overwrite)
    with as_many_threads(told.facts):
        pipeline = told.order.choice.load()
        facts = pipeline.facts(pipeline.plan(request), told.order.seed or 0)
        compares = not changes or told.is_same(facts)
        if compares:
            for line in told.differs(facts):
                click.echo(f"  {line}", err=True)
        elif saving is None:
            saving = _saving(Path("pictures"), told.order, overwrite)
        title = f"seed {facts.seed}" + (
            f", and {len(request.seeds) - 1} drawn with it" if request.seeds[1:] else ""
        )
        last = deque(with_progress(pipeline.run(request), title), maxlen=1).pop()
        pictures = pipeline.pictures(request, last.latents)
    drawn = told.picked(pictures)
    if saving is not None:
        click.echo(saving.save(drawn))
        say_what_is_unknown(drawn.facts)
    if not compares:
        return True
    verdict = told.compared(pictures)
    click.echo(f"{path}: {verdict}")
    if not verdict.same and not verdict.facts:
        click.echo("  nothing that both recipes tell is different", err=True)
    return verdict.same


def _draw_other(
    path: Path, changes: dict[str, object], models: tuple[Path, ...], out: Path | None, overwrite: bool
) -> None:
    """Draw by another program's recipe; what it does not say, or cannot be followed in, is told first."""
    from inkpunk.orders.foreign import recall_other

    other = recall_other(path, changes, models)
    for line in other.told.not_understood:
        click.echo(f"  not followed: {line}", err=True)
    request = other.order.request()
    saving = _saving(out or Path("pictures"), other.order, overwrite)
    pipeline = other.order.choice.load()
    last = deque(with_progress(pipeline.run(request), f"by {other.told.program}'s recipe"), maxlen=1).pop()
    click.echo(saving.save(pipeline.pictures(request, last.latents)[0]))


def _saving(out: Path, order: "Order", overwrite: bool) -> Saving:
    """Where the new picture goes: saved as the old one was, unless the name says otherwise."""
    if is_picture_name(out):
        saving = Saving.read(out, None, None, overwrite)
        if saving.form == order.form:
            saving = Saving.read(out, None, order.quality, overwrite)
    else:
        saving = Saving.read(out, order.form, order.quality, overwrite)
    saving.prepare()
    return saving
