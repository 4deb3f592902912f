"""The options that decide a picture: the fields of a `Request`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.options.adding import Command, with_options
from inkpunk.cli.options.choices import EMPHASES, PROGRAMS, RESIZES, SPACINGS, TILEABLE
from inkpunk.cli.options.enlarging import ENLARGE_OPTIONS

if TYPE_CHECKING:
    from inkpunk.pictures.facts import Facts
    from inkpunk.request import Request


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

REGION_OPTION = click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="PROMPT@MASK",
    help='A prompt for a part of the picture, white in MASK, as "red samurai@left.png"; PROMPT is for the rest. Can '
    "be given several times.",
)

DRAFT_OPTION = click.option(
    "--draft", is_flag=True, help="Decode with --tiny-vae, not the VAE: softer, and much sooner."
)
TILEABLE_OPTION = click.option(
    "--tileable",
    type=click.Choice(TILEABLE),
    help="Draw a texture whose edges meet: left and right (x), top and bottom (y), or both.",
)

VARIATION_OPTIONS = (
    click.option(
        "--blend",
        metavar="PROMPT:AMOUNT",
        help='Another prompt, and how much of it, 0 to 1, takes the place of PROMPT, as "a fox:0.3".',
    ),
    click.option(
        "--vary",
        metavar="SEED:AMOUNT",
        help="Begin from noise that goes so much of the way, 0 to 1, to another seed's: 8:0.2 is a small variation.",
    ),
    click.option(
        "--seed-resize",
        metavar="WIDTHxHEIGHT",
        help="Lay the noise that the seed draws at this size into the middle of the picture's, which so resembles "
        "the seed's picture of this size.",
    ),
)

INIT_OPTIONS = (
    click.option(
        "--resize",
        default="fill",
        show_default=True,
        metavar=f"[{'|'.join(RESIZES)}]",
        help="How --init and --control come to a size of another shape: fill it and be cut, fit whole within it, "
        "which then shrinks to their shape, be stretched, or be padded from their edges.",
    ),
    click.option("--match-colours", is_flag=True, help="Give the drawn picture the colours of --init."),
    click.option("--keep-alpha", is_flag=True, help="Give the drawn picture the transparency of --init."),
)

PICTURE_OPTIONS = (
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), help="Of the first picture. [default: a random one]"
    ),
    click.option("--init", type=click.Path(path_type=Path), help="A picture to start from (image-to-image)."),
    click.option(
        "--strength", type=float, default=0.75, show_default=True, help="How much of --init is drawn anew."
    ),
    *INIT_OPTIONS,
    *CONTROL_OPTIONS,
    IMAGE_PROMPT_OPTION,
    REGION_OPTION,
    DRAFT_OPTION,
    TILEABLE_OPTION,
    *VARIATION_OPTIONS,
    *ENLARGE_OPTIONS,
)


def request_options(command: Command) -> Command:
    """Add what every command that draws takes of a `Request`, under the names of its fields."""
    return with_options(REQUEST_OPTIONS)(command)


def picture_options(command: Command) -> Command:
    """Add every option that decides a picture: `request_options`, and what `trace` has no use for.

    Whatever is added here is an axis of `inkpunk grid`, too; `request_of` takes it from there.
    """
    return with_options(PICTURE_OPTIONS)(request_options(command))


def request_of(**settings: Any) -> "Request":
    """Make the request that `picture_options` ask for; the pictures to start from and to follow are read.

    Raises:
        RequestError: for what can be refused without the model.
    """
    from inkpunk.request import Request
    from inkpunk.road.settings import fields_of

    return Request(**fields_of(**settings))


def say_how_it_starts(request: "Request", size: tuple[int, int]) -> None:
    """Tell the size that a picture to start from leads to, and what of it is cut off, or added."""
    from PIL import Image

    from inkpunk.pictures.fitting import resized_in_words
    from inkpunk.pictures.paths import path_of

    if request.picture is None or not isinstance(request.init, Image.Image) or request.is_edit:
        return
    path = path_of(request.init) or "a picture"
    told = resized_in_words(request.picture.size, size, request.resize)
    click.echo(f"--init {path}: drawn at {size[0]} x {size[1]}{told and f'; {told}'}", err=True)


def say_what_is_unknown(facts: "Facts") -> None:
    """Warn of a recipe that does not say which file drew the picture."""
    if not facts.model_hash:
        click.echo(f"Its recipe has no model hash: {facts.model} cannot be read any more.", err=True)
