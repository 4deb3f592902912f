"""`inkpunk travel`: frames on the way from prompt to prompt or from seed to seed, into a folder or an animation."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.destinations import check_picture_path, make_folder
from inkpunk.cli.drawing import say_what_is_idle
from inkpunk.cli.options import (
    model_options,
    picture_options,
    request_of,
    say_how_it_starts,
    say_what_is_unknown,
)
from inkpunk.cli.progress import with_progress
from inkpunk.cli.prompt import say_what_is_cut
from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from inkpunk.pictures.picture import Picture
    from inkpunk.pipeline import Pipeline

ANIMATIONS = (".png", ".webp")


@click.command()
@click.argument("prompts", metavar="PROMPT [PROMPT]...", nargs=-1, required=True)
@click.option(
    "--to-seed",
    "to_seeds",
    multiple=True,
    type=click.IntRange(0, 2**63 - 1),
    help="A seed to go to from --seed; can be given several times, and they follow one another.",
)
@click.option(
    "--frames", type=click.IntRange(2, 10_000), default=24, show_default=True, help="Both ends included."
)
@click.option(
    "--fps",
    type=float,
    default=12.0,
    show_default=True,
    help="Frames a second of an animation.",
)
@click.option(
    "--there-and-back", is_flag=True, help="Show an animation's frames backwards after that, for ever on."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="A .png or .webp file for an animation, or a folder for the frames.",
)
@click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists.")
@picture_options
@model_options
def travel(
    prompts: tuple[str, ...],
    to_seeds: tuple[int, ...],
    frames: int,
    fps: float,
    there_and_back: bool,
    init: Path | None,
    out: Path,
    overwrite: bool,
    load: Callable[[], "Pipeline"],
    **settings: Any,
) -> None:
    """Draw frames on the way from one PROMPT to the next, or from --seed to --to-seed, or both.

    \b
    inkpunk travel "a raven" "a fox" --seed 7 --frames 24 --out raven-fox.webp
    inkpunk travel "a raven" --seed 7 --to-seed 8 --to-seed 7 --out seeds.png

    A frame in a folder has a recipe of its own, which draws it again; an animation has those of all its frames.
    """
    to_file = out.suffix.lower() in ANIMATIONS
    if to_file:
        check_picture_path(out, overwrite, ANIMATIONS, "animations")
    elif there_and_back:
        raise click.UsageError(
            "--there-and-back: says how an animation is shown; --out names a folder of frames"
        )
    else:
        make_folder("--out", out)
    with refusals():
        from inkpunk.pictures.animation import Animation, check_pace
        from inkpunk.pictures.formats import check_sides
        from inkpunk.road.travel import frames_between
        from inkpunk.road.travel import travel as travelled

        # Whatever can be refused without the model is refused before the model is loaded.
        check_pace(fps)
        asked = request_of(prompt=prompts[0], init=init, **settings)
        requests = frames_between(asked, frames, to_prompts=prompts[1:], to_seeds=to_seeds)
        pipeline = load()
        say_how_it_starts(asked, pipeline.size(asked))
        for each in {each.prompt: each for each in requests}.values():
            say_what_is_cut(each, pipeline.tokenizer)
            for note in pipeline.notes_of(each):
                click.echo(note, err=True)
        plan = pipeline.plan(asked)
        if to_file:
            check_sides(out.suffix[1:].lower(), *plan.picture_size)
        say_what_is_idle(plan)
        drawn, saved = list["Picture"](), list[Path]()
        try:
            # closed, so that the bar ends before anything is told
            with closing(with_progress(travelled(pipeline, requests), f"{frames} frames")) as steps:
                for step in steps:
                    if step.frame is not None and to_file:
                        drawn.append(step.frame)
                    elif step.frame is not None:
                        saved.append(step.frame.save_into(out))
                        drawn[:] = [step.frame]
        finally:
            for path in saved:
                click.echo(path)
        if to_file:
            animation = Animation.of(drawn, fps, there_and_back=there_and_back)
            click.echo(animation.save(out, overwrite=overwrite))
        say_what_is_unknown(drawn[-1].facts)
