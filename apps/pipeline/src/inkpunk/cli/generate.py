"""`inkpunk generate`: draw pictures, with a progress bar, and save each as soon as it is done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.options import SPACINGS, check_picture_path, model_options, refusals, request_options

if TYPE_CHECKING:
    from inkpunk_clip import Tokenizer
    from inkpunk_sampling import Step

    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request


@click.command()
@click.argument("prompt")
@click.option(
    "--sampler",
    default="ddpm",
    show_default=True,
    help="The sampling algorithm, by any program's name: see `inkpunk samplers`.",
)
@click.option(
    "--spacing",
    default="",
    type=click.Choice(["", *SPACINGS]),
    metavar=f"[{'|'.join(SPACINGS)}]",
    help="How the steps spread over the training timesteps. [default: linspace, or what --sampler says]",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Of the first picture. [default: a random one]"
)
@click.option(
    "--count", type=click.IntRange(1), default=1, show_default=True, help="Pictures, of seeds SEED, SEED+1..."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Pictures drawn at once.")
@click.option("--init", type=click.Path(path_type=Path), help="A picture to start from (image-to-image).")
@click.option(
    "--strength", type=float, default=0.75, show_default=True, help="How much of --init is drawn anew."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="A .png file for one picture, or a folder for any number.",
)
@click.option("--overwrite", is_flag=True, help="Replace --out when it is a file that exists.")
@request_options
@model_options
def generate(
    seed: int | None,
    count: int,
    batch: int,
    init: Path | None,
    out: Path,
    overwrite: bool,
    load: Callable[[], "Pipeline"],
    **settings: Any,
) -> None:
    """Draw PROMPT."""
    to_file = out.suffix.lower() == ".png"
    _check_destination(out, to_file, count, overwrite)
    with refusals():
        from inkpunk.pictures.reading import load_image
        from inkpunk.request import Request

        # Whatever can be refused without the model is refused before the model is loaded.
        asked = Request(**settings)
        first = asked.seeds[0] if seed is None else seed
        asked = replace(asked, seeds=tuple(range(first, first + count)))
        pipeline = load()
        picture = None
        if init is not None:
            size = pipeline.defaults.size
            picture = load_image(init, asked.width or size, asked.height or size)
        _say_what_was_cut(pipeline.tokenizer, "prompt", asked.prompt)
        _say_what_was_cut(pipeline.tokenizer, "negative prompt", asked.negative_prompt)
        for start in range(0, count, batch):
            request = replace(asked, seeds=asked.seeds[start : start + batch], init=picture)
            title = f"seed {request.seeds[0]}" + (
                f" and {len(request.seeds) - 1} more" if request.seeds[1:] else ""
            )
            last = _run(pipeline, request, title)
            for drawn in pipeline.pictures(request, last.latents):
                click.echo(drawn.save(out, overwrite=overwrite) if to_file else drawn.save_into(out))


def _check_destination(out: Path, to_file: bool, count: int, overwrite: bool) -> None:
    if to_file and count > 1:
        raise click.UsageError(f"--out {out}: one file cannot hold {count} pictures; give a folder")
    if to_file:
        check_picture_path(out, overwrite)
        return
    if out.exists() and not out.is_dir():
        raise click.UsageError(f"--out {out}: neither a folder nor a .png file")
    out.mkdir(parents=True, exist_ok=True)


def _say_what_was_cut(tokenizer: "Tokenizer", what: str, text: str) -> None:
    if cut := tokenizer.cut(text):
        click.echo(f"The {what} is longer than CLIP's 77 tokens; it does not see: {cut!r}", err=True)


def _run(pipeline: "Pipeline", request: "Request", title: str) -> "Step":
    """Exhaust a run behind a progress bar that tells the time of a step and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, pace="")
        last = None
        for last in pipeline.run(request):
            progress.update(task, total=last.total, completed=last.index)
            speed = progress.tasks[task].speed
            progress.update(task, pace=f"{1 / speed:.2f} s/step" if speed else "")
    assert last is not None  # a run has at least one step
    return last
