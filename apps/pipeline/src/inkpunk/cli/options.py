"""What the subcommands share: the options that choose a model, and how a refusal reaches the terminal."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

Command = TypeVar("Command", bound=Callable[..., Any])

FETCH_HINT = "for the real one, add: --model Envvi/Inkpunk-Diffusion (2 GB to download, once)"

# Those of `Speed` but for compile, told again: importing it takes torch, which --help need not wait for.
WAYS = (
    "winograd",
    "channels_last",
    "linears",
    "threads",
    "attention",
    "in_place",
    "memo",
    "share",
    "keep_memory",
)
# inkpunk_sampling.SPACINGS, told again for the same reason
SPACINGS = ("linspace", "leading", "trailing", "karras", "exponential")

MODEL_OPTIONS = (
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
        "--offload", is_flag=True, help="Keep models that are not in use in main memory (slower, smaller)."
    ),
    click.option("--tiled", is_flag=True, help="Decode and encode pictures in strips, for large ones."),
    click.option(
        "--low-memory",
        is_flag=True,
        help="Less than 3 GiB for 512x512: --offload, --tiled, and on a CPU 16-bit weights (a little slower).",
    ),
    click.option(
        "--without",
        multiple=True,
        type=click.Choice(WAYS),
        help="Leave out a way of making it fast; can be given several times.",
    ),
    click.option(
        "--compile",
        "compile_",
        is_flag=True,
        help="Compile the networks with torch.compile, for CUDA: minutes once, then faster.",
    ),
    click.option("--ema", is_flag=True, help="Take a training checkpoint's averaged (EMA) weights."),
)


def _interval(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[float, float] | None:
    """Read LOW:HIGH."""
    if value is None:
        return None
    try:
        low, high = map(float, value.split(":"))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not LOW:HIGH, two noise levels such as 0.28:5.42") from error
    return low, high


REQUEST_OPTIONS = (
    click.option("-n", "--negative", "negative_prompt", default="", help="What the picture should not show."),
    click.option("--steps", type=click.IntRange(1, 1000), help="Sampling steps. [default: the model's]"),
    click.option(
        "--guidance", type=float, help="How strongly the prompt steers; 1 is off. [default: the model's]"
    ),
    click.option("--width", type=int, help="In pixels, a multiple of 8. [default: the model's]"),
    click.option("--height", type=int, help="In pixels, a multiple of 8. [default: the model's]"),
    click.option(
        "--guidance-rescale",
        type=float,
        default=0.0,
        show_default=True,
        help="Take back so much of the contrast that guidance adds, 0 to 1; 0.7 is usual.",
    ),
    click.option(
        "--guidance-interval",
        metavar="LOW:HIGH",
        callback=_interval,
        help="Guide at noise levels (sigmas, about 15 to 0) from HIGH down to LOW alone, as 0.28:5.42: steps "
        "outside take half the time. [default: everywhere]",
    ),
    click.option(
        "--apg",
        is_flag=True,
        help="Adaptive projected guidance: a high --guidance (10 to 15) without oversaturated colours.",
    ),
)


def request_options(command: Command) -> Command:
    """Add what every command that draws takes of a `Request`, under the names of its fields."""
    for option in reversed(REQUEST_OPTIONS):
        command = option(command)
    return command


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Pipeline.load`; the command gets one argument `load` in their place, which loads."""

    @wraps(command)
    def with_load(
        *,
        model: str,
        device: str,
        dtype: str,
        offload: bool,
        tiled: bool,
        low_memory: bool,
        ema: bool,
        without: tuple[str, ...],
        compile_: bool,
        **others: Any,
    ) -> Any:
        settings = {
            "device": device,
            "dtype": dtype,
            "offload": offload,
            "tiled": tiled,
            "low_memory": low_memory,
            "ema": ema,
        }
        ways = dict.fromkeys(without, False) | {"compile": compile_}
        return command(load=partial(_load_pipeline, model, ways, **settings), **others)

    for option in reversed(MODEL_OPTIONS):
        with_load = option(with_load)
    return with_load


def _load_pipeline(model: str, ways: dict[str, bool], **settings: Any) -> "Pipeline":
    """Load the model, and say in one line when it is not the one that a user came for."""
    from inkpunk.pipeline import Pipeline
    from inkpunk.speed import Speed

    pipeline = Pipeline.load(model, speed=Speed(**ways), **settings)
    if model == "sketch":
        click.echo(f"Drawing with the small sketch model in the box; {FETCH_HINT}", err=True)
    if pipeline.defaults.note:
        click.echo(f"Note: {pipeline.defaults.note}", err=True)
    return pipeline


def check_picture_path(out: Path, overwrite: bool | None = None) -> None:
    """Refuse, before any work, a file that could not be saved after it; None: the command has no --overwrite."""
    if out.exists() and not overwrite:
        way_out = "" if overwrite is None else ", or add --overwrite"
        raise click.ClickException(f"{out}: exists already; choose another name{way_out}")
    if not out.parent.is_dir():
        raise click.ClickException(f"{out}: the folder {out.parent} does not exist; make it first")


@contextmanager
def refusals() -> Generator[None]:
    """Turn the errors that say what to do into one line on the terminal; let all others show where they arose."""
    from inkpunk_weights import CheckpointError

    from inkpunk.memory.devices import DeviceError
    from inkpunk.models.hub_errors import HubError
    from inkpunk.pictures.facts import PictureError
    from inkpunk.request import RequestError

    try:
        yield
    except (CheckpointError, HubError, PictureError, RequestError, DeviceError) as error:
        raise click.ClickException(str(error)) from error
