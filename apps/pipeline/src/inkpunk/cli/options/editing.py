"""The options of `inkpunk edit`: which part of a picture is drawn anew, and how."""

from pathlib import Path

import click

from inkpunk.cli.options.choices import CONTENTS

EDITING_OPTIONS = (
    click.option(
        "--mask",
        type=click.Path(path_type=Path),
        metavar="MASK",
        help="A picture, white where PICTURE is drawn anew, black where it stays; grey means less change. "
        "[default: where PICTURE is transparent]",
    ),
    click.option(
        "--masked-content",
        type=click.Choice(CONTENTS),
        default="original",
        show_default=True,
        help="What the masked part begins as: what it was, its blurred surroundings, noise, or nothing.",
    ),
    click.option(
        "--only-masked",
        type=click.IntRange(0),
        is_flag=False,
        flag_value=32,
        metavar="[PADDING]",
        help="Show the model but what is masked and so many pixels around (32), at its own size: detail for a small "
        "part of a large picture.",
    ),
    click.option(
        "--extend",
        metavar="SIDE=PIXELS,...",
        help="Continue PICTURE beyond its edges, as left=128,bottom=64, or all=64.",
    ),
)
