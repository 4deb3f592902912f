"""`inkpunk enlarge`: make a picture that is there larger, in tiles, however large it becomes."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.drawing import say_what_is_idle
from inkpunk.cli.options import (
    model_options,
    picture_options,
    request_of,
    say_what_is_unknown,
    with_options,
    without_options,
)
from inkpunk.cli.progress import with_progress
from inkpunk.cli.prompt import say_what_is_cut
from inkpunk.cli.refusing import refusals
from inkpunk.cli.saving import SAVING_OPTIONS, Saving

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

OTHERS = {"width", "height", "init", "strength"} | {
    f"enlarge{each}" for each in ("", "_by", "_strength", "_steps", "_sampler")
}
"""Options of other commands' pictures, which this one tells by names of its own, or has no use for."""


@without_options(OTHERS)
@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("prompt", required=False)
@click.option("--by", "factor", metavar="FACTOR", help="How many times as wide and high. [default: 2]")
@click.option("--to", metavar="WIDTHxHEIGHT", help="Or how large, in pixels, each a multiple of 8.")
@click.option(
    "--strength",
    "redraw",
    type=float,
    default=0.3,
    show_default=True,
    help="How much is drawn anew: more adds detail, and goes further away from the picture.",
)
@picture_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="A .png, .jpg, .webp or .avif file, or a folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists.")
@with_options(SAVING_OPTIONS)
@model_options
def enlarge(
    picture: Path,
    prompt: str | None,
    factor: str | None,
    to: str | None,
    redraw: float,
    out: Path,
    overwrite: bool,
    form: str | None,
    quality: int | None,
    load: Callable[[], "Pipeline"],
    **settings: Any,
) -> None:
    """Make PICTURE larger, with detail that the model draws as PROMPT says.

    Without PROMPT, and without --negative, those of the picture's own recipe are taken, if it has one of inkpunk's.
    It is resized, by Lanczos or --upscaler, and drawn anew in part, tile by tile: memory does not limit its size.

    \b
    inkpunk enlarge raven.png
    inkpunk enlarge photo.jpg "a harbour at dusk" --to 3072x2048 --upscaler 4x-UltraSharp.pth
    """
    if factor is not None and to is not None:
        raise click.UsageError("--by and --to say the same in two ways: give one of them")
    with refusals():
        saving = Saving.read(out, form, quality, overwrite, alpha=settings["keep_alpha"])
        saving.prepare()
        told = _recipe_of(picture) if prompt is None else {}
        if prompt is None and not told:
            click.echo(
                f"{picture}: has no recipe of inkpunk's to take a prompt from, so that no prompt leads; give one, "
                "that says what it shows, for better detail",
                err=True,
            )
        if settings["negative_prompt"]:
            told.pop("negative_prompt", None)
        settings |= {"prompt": prompt or ""} | told
        settings |= {"enlarge": to or factor or "2", "enlarge_strength": redraw}
        request = request_of(init=picture, **settings)
        pipeline = load()
        if request.tile_size is None:
            request = replace(request, tile_size=max(pipeline.defaults.size, 64))
        width, height = pipeline.size(request)
        if request.picture is not None:
            there = request.picture.size
            click.echo(f"{picture}: {there[0]} x {there[1]} is drawn at {width} x {height}", err=True)
        say_what_is_cut(request, pipeline.tokenizer)
        plan = pipeline.plan(request)
        saving.refuse_too_large(plan)
        say_what_is_idle(plan)
        for note in pipeline.notes_of(request):
            click.echo(note, err=True)
        last = deque(with_progress(pipeline.run(request), f"{width} x {height}"), maxlen=1).pop()
        [drawn] = pipeline.pictures(request, last.latents)
        click.echo(saving.save(drawn))
        say_what_is_unknown(drawn.facts)


def _recipe_of(picture: Path) -> dict[str, str]:
    """The prompts that a picture was drawn by, if it says so."""
    from inkpunk.pictures.facts import PictureError
    from inkpunk.pictures.png_text import read_facts

    try:
        facts = read_facts(picture)
    except PictureError:
        return {}
    return {"prompt": facts.prompt, "negative_prompt": facts.negative_prompt}
