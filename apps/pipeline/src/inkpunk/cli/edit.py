"""`inkpunk edit`: draw a part of a picture anew, or continue it beyond its edges."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.drawing import DRAWING_OPTIONS, draw, taken
from inkpunk.cli.options import (
    EDITING_OPTIONS,
    model_options,
    picture_options,
    request_of,
    with_options,
    without_options,
)

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

NOT_FOR_EDITS = {"init", "tileable", "enlarge", "upscaler"} | {
    f"enlarge_{each}" for each in ("by", "strength", "steps", "sampler")
}


@without_options(NOT_FOR_EDITS)
@click.command()
@click.argument("picture", type=click.Path(path_type=Path))
@click.argument("prompt")
@with_options(EDITING_OPTIONS)
@picture_options
@with_options(DRAWING_OPTIONS)
@model_options
def edit(
    picture: Path,
    mask: Path | None,
    extend: str | None,
    load: Callable[[], "Pipeline"],
    **settings: Any,
) -> None:
    """Draw a part of PICTURE anew, as PROMPT says; all else comes back exactly as it was.

    PROMPT says what the whole picture shows. Any model can, by being held to what stays; an inpainting model, whose
    UNet takes nine channels, sees the mask as well.

    \b
    inkpunk edit raven.png "nvinkpunk raven, neon blue splash" --mask splash.png
    inkpunk edit photo.jpg "a harbour at dusk" --extend left=128,right=128
    inkpunk edit portrait.png "green eyes" --mask eyes.png --only-masked --strength 0.5
    """
    drawing = taken(settings)
    settings |= {"init": picture, "mask": mask or (None if extend else "alpha"), "extend": extend}
    draw(partial(request_of, **settings), load, keeps_alpha=settings["keep_alpha"], **drawing)
