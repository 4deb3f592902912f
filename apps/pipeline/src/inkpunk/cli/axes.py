"""Axes of a grid as the command line takes them: an option and its values, as in `--x steps=5,10,20`."""

from typing import Any

import click

from inkpunk.cli.options import picture_options
from inkpunk.orders.axes import PROMPT, AxisError, OptionAxis, read_values

# Every option that decides a picture, by its long name: what is added there is an axis by itself.
OPTIONS = {
    max(option.opts, key=len).lstrip("-"): option
    for option in click.command(picture_options(lambda: None)).params
    if isinstance(option, click.Option)
}
NUMBERS = {
    name: isinstance(option.type, click.types.IntParamType)
    for name, option in OPTIONS.items()
    if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
}
SEARCHED = "prompt", "negative_prompt"


def read_axis(text: str, context: click.Context) -> OptionAxis:
    """Read an axis as it is written on the command line.

    Args:
        text: as `inkpunk.orders.axes.read_values` takes it, of the names of `OPTIONS`.
        context: click's, for the options' own checks.

    Raises:
        AxisError: there is no such option, no value, or one that the option refuses.
    """
    axis = read_values(text, OPTIONS, NUMBERS)
    if axis.name == PROMPT:
        return OptionAxis(axis, axis.values, PROMPT, SEARCHED)
    option = OPTIONS[axis.name]
    settings = tuple(_converted(axis.name, option, value, context) for value in axis.values)
    return OptionAxis(axis, settings, option.name or "", SEARCHED)


def _converted(name: str, option: click.Option, value: str, context: click.Context) -> Any:
    try:
        return option.process_value(context, [value] if option.multiple else value)
    except click.BadParameter as error:
        raise AxisError(f"{name}={value}: {error.message}") from error
