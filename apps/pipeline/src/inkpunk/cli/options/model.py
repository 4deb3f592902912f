"""The options of `Pipeline.load`: which model, where and how."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.interrupting import look_for_interrupts
from inkpunk.cli.options.adding import Command, with_options
from inkpunk.cli.options.choices import PREDICTIONS, WAYS
from inkpunk.orders.choice import ChoiceError, ModelChoice

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

FETCH_HINT = "for the real one, add: --model Envvi/Inkpunk-Diffusion (2 GB to download, once)"

TRAINED_FOR_OPTIONS = (
    click.option(
        "--prediction",
        type=click.Choice(PREDICTIONS),
        help="What the model was trained to predict. [default: what its files say]",
    ),
    click.option(
        "--zero-snr/--no-zero-snr",
        default=None,
        help="Whether its noise schedule has zero terminal SNR: no signal at its end. [default: what its files say]",
    ),
)

EMBEDDING_OPTION = click.option(
    "--embedding",
    "embeddings",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A learned word (textual inversion), called by its file's name, or a folder of them; can be given several "
    "times.",
)


def _control_nets(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Check each KIND=FILE."""
    try:
        return ModelChoice(control_nets=values).control_nets
    except ChoiceError as error:
        raise click.BadParameter(str(error), context, option) from error


DEVICE_OPTION = click.option(
    "--device", default="auto", show_default=True, metavar="[auto|cuda|mps|cpu]", help="Where to compute."
)
EMA_OPTION = click.option("--ema", is_flag=True, help="Take a training checkpoint's averaged (EMA) weights.")

CONTROL_NET_OPTION = click.option(
    "--control-net",
    "control_nets",
    multiple=True,
    metavar="KIND=FILE",
    callback=_control_nets,
    help="The ControlNet or T2I-Adapter for a kind of --control or --hint: a file, a folder or a Hugging Face id. "
    "[default: the one in the box, or ControlNet 1.1 from the hub]",
)

IP_ADAPTER_OPTIONS = (
    click.option(
        "--ip-adapter",
        metavar="FILE",
        help="The IP-Adapter that sees --image-prompt: a file, or one on Hugging Face, such as "
        "h94/IP-Adapter/models/ip-adapter_sd15.safetensors.",
    ),
    click.option(
        "--image-encoder",
        metavar="FILE",
        help="CLIP's image encoder, through which --ip-adapter looks: a file, a folder or a Hugging Face id. "
        "[default: the folder image_encoder beside it]",
    ),
)

TINY_VAE_OPTION = click.option(
    "--tiny-vae",
    metavar="FILE",
    help="A tiny autoencoder (TAESD), for --preview and --draft: a file, a folder or a Hugging Face id, such as "
    "madebyollin/taesd.",
)

LORA_OPTIONS = (
    click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar="FILE[:WEIGHT[:TEXT_ENCODER]]",
        help="An adapter (LoRA, LoCon, LoHa, LoKr, DoRA), and how much of it, as neon.safetensors:0.8; the text "
        "encoder may have a weight of its own. Can be given several times.",
    ),
    click.option(
        "--lora-folder",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where --lora, and <lora:name:0.8> in a prompt, find adapters by their names.",
    ),
)

MODEL_OPTIONS = (
    click.option(
        "--model",
        default="sketch",
        show_default=True,
        help="A checkpoint file, a diffusers folder, a Hugging Face id (owner/name, owner/name@revision) or its "
        "page's address, or the built-in sketch.",
    ),
    DEVICE_OPTION,
    click.option(
        "--dtype",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
        help="In which precision; auto is float16 on an accelerator, float32 on a CPU; one with AMX is faster "
        "in bfloat16, at an error.",
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
        is_flag=True,
        help="Compile the networks with torch.compile, for CUDA: minutes once, then faster.",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="The same bits whatever is drawn beside it, and by however many threads (slower).",
    ),
    EMA_OPTION,
    EMBEDDING_OPTION,
    *LORA_OPTIONS,
    CONTROL_NET_OPTION,
    *IP_ADAPTER_OPTIONS,
    TINY_VAE_OPTION,
    *TRAINED_FOR_OPTIONS,
)


def lora_options(command: Command) -> Command:
    """Add the adapters that are put on a model."""
    return with_options(LORA_OPTIONS)(command)


def trained_for_options(command: Command) -> Command:
    """Add what a user may say of a model that its files do not."""
    return with_options(TRAINED_FOR_OPTIONS)(command)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `Pipeline.load`; the command gets one argument `load` in their place, which loads."""

    @wraps(command)
    def with_load(**settings: Any) -> Any:
        choice = ModelChoice(**{each.name: settings.pop(each.name) for each in fields(ModelChoice)})
        return command(load=partial(load_choice, choice), **settings)

    return with_options(MODEL_OPTIONS)(with_load)


def load_choice(choice: ModelChoice) -> "Pipeline":
    """Load a model, and say in one line when it is not the one that a user came for."""
    pipeline = choice.load()
    look_for_interrupts()
    if choice.model == "sketch":
        click.echo(f"Drawing with the small sketch model in the box; {FETCH_HINT}", err=True)
    for each in pipeline.learned.passed_over:
        click.echo(f"Passed over: {each}", err=True)
    for each in pipeline.lora_notes:
        click.echo(each, err=True)
    if pipeline.defaults.note:
        click.echo(f"Note: {pipeline.defaults.note}", err=True)
    return pipeline
