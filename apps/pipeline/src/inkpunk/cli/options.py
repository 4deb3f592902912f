"""What the subcommands share: the options that choose a model or decide a picture, and how a refusal is told."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from inkpunk.pictures.facts import Facts
    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request

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
SPACINGS = (
    "linspace",
    "leading",
    "trailing",
    "uniform",
    "sgm_uniform",
    "simple",
    "karras",
    "exponential",
    "kl_optimal",
    "beta",
    "beta_sigma",
    "ays",
    "lcm",
)
# and CONVENTIONS and PREDICTIONS
PROGRAMS = ("inkpunk", "a1111", "comfyui", "diffusers")
PREDICTIONS = ("epsilon", "v", "sample")
# and inkpunk_clip.EMPHASES
EMPHASES = ("mean", "plain", "from_empty", "ignore")

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


def _control_nets(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read each KIND=FILE."""
    told = dict[str, str]()
    for value in values:
        kind, equals, file = value.partition("=")
        if not (kind and equals and file):
            raise click.BadParameter(f"{value!r} is not KIND=FILE, such as canny=control_v11p_sd15_canny.pth")
        if kind in told:
            raise click.BadParameter(f"{kind} is given twice; one network draws a kind")
        told[kind] = file
    return told


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
    EMA_OPTION,
    EMBEDDING_OPTION,
    *LORA_OPTIONS,
    CONTROL_NET_OPTION,
    *IP_ADAPTER_OPTIONS,
    *TRAINED_FOR_OPTIONS,
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


def read_wildcards(folder: Path | None) -> dict[str, tuple[str, ...]] | None:
    """Read the lists of a folder, where one is given.

    Raises:
        RequestError: for a folder or a list that cannot be read.
    """
    if folder is None:
        return None
    from inkpunk.road.wildcards import read_lists

    return read_lists(folder)


SIDE = click.IntRange(1, 1 << 16)  # pixels; what memory cannot hold is refused later, with an estimate

LANGUAGE_OPTIONS = (
    click.option(
        "--like",
        default="inkpunk",
        show_default=True,
        type=click.Choice(PROGRAMS),
        help="Follow another program in what the settings leave open: spacing, noise, counting, prompt grammar.",
    ),
    click.option(
        "--emphasis",
        type=click.Choice(EMPHASES),
        help="How (word:1.3) acts: keeping the mean, as AUTOMATIC1111; plainly; away from the empty prompt, as "
        "ComfyUI; or not. [default: that of --like]",
    ),
    click.option("--plain-prompt", is_flag=True, help="Take every character of the prompts as text."),
    click.option(
        "--wildcards",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Lists, one choice a line: __colour__ in a prompt is a line of FOLDER/colour.txt.",
    ),
)
REQUEST_OPTIONS = (
    click.option("-n", "--negative", "negative_prompt", default="", help="What the picture should not show."),
    click.option("--steps", type=click.IntRange(1, 1000), help="Sampling steps. [default: the model's]"),
    click.option(
        "--guidance", type=float, help="How strongly the prompt steers; 1 is off. [default: the model's]"
    ),
    click.option(
        "--width",
        type=SIDE,
        help="In pixels, a multiple of 8. [default: the model's; with --init in its shape]",
    ),
    click.option(
        "--height",
        type=SIDE,
        help="In pixels, a multiple of 8. [default: the model's; with --init in its shape]",
    ),
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
    click.option(
        "--sampler",
        help="The sampling algorithm, by any program's name: see `inkpunk samplers`. [default: that of --like]",
    ),
    click.option(
        "--spacing",
        metavar=f"[{'|'.join(SPACINGS)}]",
        help="How the steps spread over noise levels. [default: that of --like, or what --sampler says]",
    ),
    click.option(
        "--eta",
        type=float,
        help="How much noise a sampler draws on its way: 0 to 1. [default: the sampler's]",
    ),
    *LANGUAGE_OPTIONS,
    click.option(
        "--clip-skip",
        type=click.IntRange(0),
        help="At which of the text encoder's last layers to stop, as --like counts: 2 is usual. [default: the last]",
    ),
)

CONTROL_OPTIONS = (
    click.option(
        "--control",
        "controls",
        multiple=True,
        metavar="KIND:PICTURE[:WEIGHT][:FROM-TO]",
        help="Follow what a picture shows: canny, softedge, scribble, tile or depth, how strongly, and for which "
        "part of the steps, as canny:photo.png:0.9:0-0.6. Can be given several times.",
    ),
    click.option(
        "--hint",
        "hints",
        multiple=True,
        metavar="KIND:PICTURE[:WEIGHT][:FROM-TO]",
        help="As --control, of a picture that is a hint already; of any kind, such as openpose:pose.png.",
    ),
    click.option(
        "--guess",
        is_flag=True,
        help="Guess mode: hints lead, on predictions under the prompt alone, the coarse more than the fine.",
    ),
)

IMAGE_PROMPT_OPTION = click.option(
    "--image-prompt",
    "image_prompts",
    multiple=True,
    metavar="PICTURE[:WEIGHT]",
    help="A picture that says what to draw, beside PROMPT, and how much it counts, as style.png:0.6; takes an "
    "--ip-adapter. Can be given several times.",
)

PICTURE_OPTIONS = (
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="Of the first picture. [default: a random one]"
    ),
    click.option("--init", type=click.Path(path_type=Path), help="A picture to start from (image-to-image)."),
    click.option(
        "--strength", type=float, default=0.75, show_default=True, help="How much of --init is drawn anew."
    ),
    *CONTROL_OPTIONS,
    IMAGE_PROMPT_OPTION,
)


def with_options(options: tuple[Callable[..., Any], ...]) -> Callable[[Command], Command]:
    """Add options that --help lists in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def lora_options(command: Command) -> Command:
    """Add the adapters that are put on a model."""
    return with_options(LORA_OPTIONS)(command)


def trained_for_options(command: Command) -> Command:
    """Add what a user may say of a model that its files do not."""
    return with_options(TRAINED_FOR_OPTIONS)(command)


def request_options(command: Command) -> Command:
    """Add what every command that draws takes of a `Request`, under the names of its fields."""
    return with_options(REQUEST_OPTIONS)(command)


def picture_options(command: Command) -> Command:
    """Add every option that decides a picture: `request_options`, and what `trace` has no use for.

    Whatever is added here is an axis of `inkpunk grid`, too; `request_of` takes it from there.
    """
    return with_options(PICTURE_OPTIONS)(request_options(command))


def request_of(
    *,
    seed: int | None,
    init: Path | None = None,
    wildcards: Path | None = None,
    controls: tuple[str, ...] = (),
    hints: tuple[str, ...] = (),
    **settings: Any,
) -> "Request":
    """Make the request that `picture_options` ask for; the pictures to start from and to follow are read.

    Raises:
        RequestError: for what can be refused without the model.
    """
    from inkpunk.request import Request
    from inkpunk.road.control import Control

    if seed is not None:
        settings["seeds"] = (seed,)
    followed = (*map(Control.read, controls), *(Control.read(hint, ready=True) for hint in hints))
    return Request(**settings, init=init, wildcards=read_wildcards(wildcards), controls=followed)


def say_how_it_starts(request: "Request", init: Path | None, size: tuple[int, int]) -> None:
    """Tell the size that a picture to start from leads to, and what of it is cut off."""
    if init is None or request.picture is None:
        return
    from inkpunk.pictures.fitting import cut_off

    cut = cut_off(request.picture.size, size)
    told = f"; {cut} is cut off, evenly at both sides" if cut else ""
    click.echo(f"--init {init}: drawn at {size[0]} x {size[1]}{told}", err=True)


def say_what_is_unknown(facts: "Facts") -> None:
    """Warn of a recipe that does not say which file drew the picture."""
    if not facts.model_hash:
        click.echo(f"Its recipe has no model hash: {facts.model} cannot be read any more.", err=True)


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
        prediction: str | None,
        zero_snr: bool | None,
        embeddings: tuple[Path, ...],
        loras: tuple[str, ...],
        lora_folder: Path | None,
        control_nets: dict[str, str],
        ip_adapter: str | None,
        image_encoder: str | None,
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
            "prediction": prediction,
            "zero_snr": zero_snr,
            "embeddings": embeddings,
            "loras": loras,
            "lora_folder": lora_folder,
            "control_nets": control_nets,
            "ip_adapter": ip_adapter,
            "image_encoder": image_encoder,
        }
        ways = dict.fromkeys(without, False) | {"compile": compile_}
        return command(load=partial(_load_pipeline, model, ways, **settings), **others)

    return with_options(MODEL_OPTIONS)(with_load)


def _load_pipeline(model: str, ways: dict[str, bool], **settings: Any) -> "Pipeline":
    """Load the model, and say in one line when it is not the one that a user came for."""
    from inkpunk.pipeline import Pipeline
    from inkpunk.speed import Speed

    pipeline = Pipeline.load(model, speed=Speed(**ways), **settings)
    if model == "sketch":
        click.echo(f"Drawing with the small sketch model in the box; {FETCH_HINT}", err=True)
    for each in pipeline.learned.passed_over:
        click.echo(f"Passed over: {each}", err=True)
    for each in pipeline.lora_notes:
        click.echo(each, err=True)
    if pipeline.defaults.note:
        click.echo(f"Note: {pipeline.defaults.note}", err=True)
    return pipeline
