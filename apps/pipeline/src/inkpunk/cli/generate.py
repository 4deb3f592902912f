"""`inkpunk generate`: draw pictures, with a progress bar, and save each as soon as it is done."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.drawing import DRAWING_OPTIONS, draw, taken
from inkpunk.cli.options import model_options, picture_options, request_of, with_options

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline


@click.command()
@click.argument("prompt")
@picture_options
@with_options(DRAWING_OPTIONS)
@model_options
def generate(load: Callable[[], "Pipeline"], **settings: Any) -> None:
    """Draw PROMPT."""
    drawing = taken(settings)
    draw(partial(request_of, **settings), load, keeps_alpha=settings["keep_alpha"], **drawing)
