"""`inkpunk inspect`: what a checkpoint is, and what is wrong with it, without running or believing it."""

import json
from dataclasses import asdict

import click

from inkpunk.cli.options import refusals


@click.command()
@click.argument("file")
@click.option(
    "--finite", is_flag=True, help="Also read every tensor and name those that hold NaN or infinity."
)
@click.option("--ema", is_flag=True, help="Look at a training checkpoint's averaged (EMA) weights.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def inspect(context: click.Context, file: str, finite: bool, ema: bool, as_json: bool) -> None:
    """Tell what FILE (a checkpoint, a diffusers folder or a hub id) is.

    Reads headers only, unless --finite asks for the values. Exits with 1 when something is wrong with it.
    """
    with refusals():
        from inkpunk_weights import open_checkpoint

        from inkpunk.models.hub import resolve_model

        report = open_checkpoint(resolve_model(file), ema=ema).report(finite=finite)
    click.echo(json.dumps(asdict(report), indent=2, default=str) if as_json else str(report))
    context.exit(1 if report.problems else 0)
