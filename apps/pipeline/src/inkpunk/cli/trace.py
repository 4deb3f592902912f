"""`inkpunk trace`: one generation told stage by stage."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.destinations import check_picture_path
from inkpunk.cli.drawing import say_what_is_idle
from inkpunk.cli.options import model_options, request_of, request_options
from inkpunk.cli.prompt import say_what_is_cut, told
from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline
    from inkpunk.road.trace import Stage

ROW = "{:<40} {:<24} {:<14} {:>12} {:>9} {:>10}"


@click.command()
@click.argument("prompt")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Save the picture, too, as this .png, .jpg, .webp or .avif file.",
)
@request_options
@model_options
def trace(seed: int, out: Path | None, load: Callable[[], "Pipeline"], **settings: Any) -> None:
    """Draw PROMPT once: how it is understood, and each stage's shapes in and out, parameters, time, peak memory."""
    if out is not None:
        check_picture_path(out)
    with refusals():
        from inkpunk.road.trace import trace as stages

        request = request_of(seed=seed, **settings)
        pipeline = load()
        plan = pipeline.plan(request)
        for note in pipeline.notes_of(request):
            click.echo(note, err=True)
        [reading] = pipeline.readings(plan)
        for line in told(reading, plan.prompt_steps, pipeline.tokenizer, pipeline.learned.words):
            click.echo(line)
        say_what_is_cut(request, pipeline.tokenizer)
        say_what_is_idle(plan)
        click.echo(ROW.format("stage", "in", "out", "parameters", "seconds", "peak"))
        for stage in stages(pipeline, request):
            click.echo(_row(stage))
            if stage.picture is not None and out is not None:
                click.echo(stage.picture.save(out))


def _row(stage: "Stage") -> str:
    parameters = f"{stage.parameters:,}" if stage.parameters else "-"
    peak = f"{stage.peak_bytes / 2**20:,.0f} MiB" if stage.peak_bytes is not None else "unknown"
    return ROW.format(stage.name, stage.takes, stage.gives, parameters, f"{stage.seconds:.3f}", peak)
