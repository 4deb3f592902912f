"""What the subcommands share: the options that choose a model, and how a refusal reaches the terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., Any])

FETCH_HINT = "for the real one, add: --model Envvi/Inkpunk-Diffusion (2 GB to download, once)"


def model_options(command: Command) -> Command:
    """Add the options of `Pipeline.load` to a command, under the names of its arguments."""
    for option in reversed(
        (
            click.option(
                "--model",
                default="sketch",
                show_default=True,
                help="A checkpoint file, a diffusers folder, a Hugging Face id (owner/name), or the built-in sketch.",
            ),
            click.option(
                "--device",
                default="auto",
                show_default=True,
                metavar="[auto|cuda|mps|cpu]",
                help="Where to compute.",
            ),
            click.option(
                "--dtype",
                default="auto",
                show_default=True,
                type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
                help="In which precision; auto is float16 on an accelerator, float32 on a CPU.",
            ),
            click.option(
                "--offload",
                is_flag=True,
                help="Keep models that are not in use in main memory (slower, smaller).",
            ),
            click.option(
                "--tiled", is_flag=True, help="Decode and encode pictures in strips, for large ones."
            ),
            click.option("--ema", is_flag=True, help="Take a training checkpoint's averaged (EMA) weights."),
        )
    ):
        command = option(command)
    return command


def load_pipeline(model: str, **options: Any) -> "Pipeline":
    """Load the model, and say in one line when it is not the one that a user came for."""
    from inkpunk.pipeline import Pipeline

    pipeline = Pipeline.load(model, **options)
    if model == "sketch":
        click.echo(f"Drawing with the small sketch model in the box; {FETCH_HINT}", err=True)
    if pipeline.defaults.note:
        click.echo(f"Note: {pipeline.defaults.note}", err=True)
    return pipeline


@contextmanager
def refusals() -> Generator[None]:
    """Turn the errors that say what to do into one line on the terminal; let all others show where they arose."""
    from inkpunk_weights import CheckpointError

    from inkpunk.devices import DeviceError
    from inkpunk.hub import HubError
    from inkpunk.picture import PictureError
    from inkpunk.request import RequestError

    try:
        yield
    except (CheckpointError, HubError, PictureError, RequestError, DeviceError) as error:
        raise click.ClickException(str(error)) from error
