"""The options of a larger picture: how much larger, and how the second pass is drawn."""

from pathlib import Path

import click

UPSCALER_OPTION = click.option(
    "--upscaler",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A network that makes pictures larger, such as an ESRGAN, .pth or .safetensors; takes the extra "
    "inkpunk[upscalers]. [default: Lanczos]",
)
TILE_OPTION = click.option(
    "--tile-size",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Draw, encode and decode in overlapping tiles of this side, for sizes beyond memory; the model's own size "
    "is usual.",
)
ENLARGE_OPTIONS = (
    click.option(
        "--enlarge",
        metavar="FACTOR|WIDTHxHEIGHT",
        help="Draw the picture larger in a second pass, as 2, or to a size, as 1024x768; the first pass has the "
        "model's own size, so that nothing is drawn twice. With --init there is no first pass.",
    ),
    click.option(
        "--enlarge-by",
        type=click.Choice(["latents", "pixels"]),
        help="What is resized between the passes. [default: latents; with --upscaler or --init pixels]",
    ),
    click.option(
        "--enlarge-strength",
        type=float,
        help="How much the second pass draws anew. [default: 0.6 of latents, 0.4 of pixels]",
    ),
    click.option(
        "--enlarge-steps",
        type=click.IntRange(1, 1000),
        help="Its sampling steps. [default: the first pass's]",
    ),
    click.option("--enlarge-sampler", help="Its sampling algorithm. [default: the first pass's]"),
    UPSCALER_OPTION,
    TILE_OPTION,
)
