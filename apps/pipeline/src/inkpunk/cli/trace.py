"""`inkpunk trace`: one generation told stage by stage."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.options import load_pipeline, model_options, refusals

if TYPE_CHECKING:
    from inkpunk.trace import Stage

ROW = "{:<40} {:<24} {:<14} {:>12} {:>9} {:>10}"


@click.command()
@click.argument("prompt")
@click.option("-n", "--negative", "negative_prompt", default="", help="What the picture should not show.")
@click.option("--steps", type=click.IntRange(1, 1000), help="Sampling steps. [default: the model's]")
@click.option(
    "--guidance", type=float, help="How strongly the prompt steers; 1 is off. [default: the model's]"
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--width", type=int, help="In pixels, a multiple of 8. [default: the model's]")
@click.option("--height", type=int, help="In pixels, a multiple of 8. [default: the model's]")
@click.option("--out", type=click.Path(path_type=Path), help="Save the picture, too, as this .png file.")
@model_options
def trace(
    seed: int,
    out: Path | None,
    model: str,
    device: str,
    dtype: str,
    offload: bool,
    tiled: bool,
    ema: bool,
    **settings: Any,
) -> None:
    """Draw PROMPT once and tell each stage: shapes in and out, parameters, time, peak memory."""
    with refusals():
        from inkpunk.request import Request
        from inkpunk.trace import trace as stages

        request = Request(seeds=(seed,), **settings)
        pipeline = load_pipeline(model, device=device, dtype=dtype, offload=offload, tiled=tiled, ema=ema)
        click.echo(ROW.format("stage", "in", "out", "parameters", "seconds", "peak"))
        for stage in stages(pipeline, request):
            click.echo(_row(stage))
            if stage.picture is not None and out is not None:
                click.echo(stage.picture.save(out))


def _row(stage: "Stage") -> str:
    parameters = f"{stage.parameters:,}" if stage.parameters else "-"
    peak = f"{stage.peak_bytes / 2**20:,.0f} MiB" if stage.peak_bytes is not None else "unknown"
    return ROW.format(stage.name, stage.takes, stage.gives, parameters, f"{stage.seconds:.3f}", peak)
