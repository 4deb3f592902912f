"""What the commands that draw share: how many pictures, where they go, and the loop that draws and saves each."""

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.destinations import check_picture_path, is_picture_name, make_folder
from inkpunk.cli.options import say_how_it_starts, say_what_is_unknown
from inkpunk.cli.previewing import PREVIEW_OPTION, place_of, previews
from inkpunk.cli.progress import with_progress
from inkpunk.cli.prompt import say_what_is_cut
from inkpunk.cli.refusing import refusals
from inkpunk.cli.saving import SAVING_OPTIONS, Saving

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request
    from inkpunk.road.plan import Plan

MOST_PICTURES = 100_000  # at a second each, more than a day
MOST_TOGETHER = 10_000  # pictures drawn at once; what memory cannot hold is refused later, with an estimate

DRAWING_OPTIONS = (
    click.option(
        "--count",
        type=click.IntRange(1, MOST_PICTURES),
        default=1,
        show_default=True,
        help="Pictures, of seeds SEED, SEED+1...",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1, MOST_TOGETHER),
        default=1,
        show_default=True,
        help="Pictures drawn at once.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path("pictures"),
        show_default=True,
        help="A .png, .jpg, .webp or .avif file for one picture, or a folder for any number.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists."),
    *SAVING_OPTIONS,
    click.option(
        "--save-hint",
        type=click.Path(path_type=Path),
        help="Save what is made of --control, as a .png file, or for several into a folder.",
    ),
    PREVIEW_OPTION,
)


DRAWING = ("count", "batch", "out", "overwrite", "form", "quality", "save_hint", "preview")


def taken(settings: dict[str, Any]) -> dict[str, Any]:
    """Take out of a command's settings what `DRAWING_OPTIONS` say, for `draw`."""
    return {name: settings.pop(name) for name in DRAWING}


def draw(
    make: Callable[[], "Request"],
    load: Callable[[], "Pipeline"],
    *,
    keeps_alpha: bool,
    count: int,
    batch: int,
    out: Path,
    overwrite: bool,
    form: str | None,
    quality: int | None,
    save_hint: Path | None,
    preview: int | None,
) -> None:
    """Draw a request's pictures, and save each as soon as it is done.

    Whatever can be refused without the model is refused before the model is loaded.

    Args:
        make: makes the request.
        load: loads the model.
        keeps_alpha: whether the pictures have transparency.
        count, batch, out, overwrite, form, quality, save_hint, preview: what `DRAWING_OPTIONS` say.
    """
    preview_place = place_of(out) if preview else out
    if is_picture_name(out) and count > 1:
        raise click.UsageError(f"--out {out}: one file cannot hold {count} pictures; give a folder")
    with refusals():
        saving = Saving.read(out, form, quality, overwrite, alpha=keeps_alpha)
        saving.prepare()
        from inkpunk.road.finishing import refuse_idle_finishing

        asked = make()
        first = asked.seeds[0]
        asked = replace(asked, seeds=tuple(range(first, first + count)))
        refuse_idle_finishing(asked)
        pipeline = load()
        say_how_it_starts(asked, pipeline.size(asked))
        say_what_is_cut(asked, pipeline.tokenizer)
        plan = pipeline.plan(asked)
        saving.refuse_too_large(plan)
        say_what_is_idle(plan)
        open_tiny_vae(pipeline, bool(preview), asked.draft)
        if save_hint is not None:
            save_hints(plan, save_hint, overwrite)
        for note in pipeline.notes_of(asked):
            click.echo(note, err=True)
        for start in range(0, count, batch):
            request = replace(asked, seeds=asked.seeds[start : start + batch])
            title = f"seed {request.seeds[0]}" + (
                f" and {len(request.seeds) - 1} more" if request.seeds[1:] else ""
            )
            steps = pipeline.run(request)
            with previews(preview_place, preview, pipeline.preview) if preview else nullcontext() as show:
                last = deque(with_progress(steps, title, show=show or _nothing), maxlen=1).pop()
            for drawn in pipeline.pictures(request, last.latents):
                click.echo(saving.save(drawn))
                say_what_is_unknown(drawn.facts)


def _nothing(step: object) -> None:
    """Show nothing of a step."""


def save_hints(plan: "Plan", place: Path, overwrite: bool) -> None:
    """Save a plan's hints: one as a file, several into a folder, each by its kind."""
    from inkpunk.pictures.atomic import write_atomically
    from inkpunk.pictures.hints import as_png
    from inkpunk.road.facts import by_kind

    named = dict(zip(by_kind(plan), plan.hints, strict=True))
    if place.suffix.lower() == ".png":
        if len(named) != 1:
            raise click.UsageError(
                f"--save-hint {place}: there are {len(named)} hints, which one file cannot hold; give a folder"
            )
        check_picture_path(place, overwrite)
        files = dict.fromkeys([place], plan.hints[0])
    else:
        make_folder("--save-hint", place)
        files = {place / f"hint-{name.replace(' ', '-')}.png": hint for name, hint in named.items()}
    for file, hint in files.items():
        write_atomically(file, as_png(hint), overwrite=overwrite or place.suffix.lower() != ".png")
        click.echo(file)


def say_what_is_idle(plan: "Plan", *others: "Callable[[], Plan]") -> None:
    """Warn of what was asked for and changes nothing, in any of the plans, and of pictures that nobody can want."""
    from inkpunk.road.idle import idle

    lines = [*idle(plan)]
    for other in others if lines else ():
        lines = [line for line in lines if line in {*idle(other())}]
    for line in lines:
        click.echo(line, err=True)


def open_tiny_vae(pipeline: "Pipeline", preview: bool, draft: bool) -> None:
    """Have it refused before the first step, and not at the first preview; warn of one that is not used."""
    if pipeline.tiny_vae is None:
        return
    if not (preview or draft):
        click.echo("--tiny-vae changes nothing without --preview or --draft.", err=True)
    elif preview:
        _ = pipeline.tiny_vae.opened
