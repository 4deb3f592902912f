"""Axes of a grid: an option that decides a picture, and the values it takes, as in `--x steps=5,10,20`."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from itertools import chain
from typing import Any

import click

from inkpunk.cli.options import picture_options
from inkpunk.pictures.grid_facts import Axis

Settings = Mapping[str, Any]

# Every option that decides a picture, by its long name: what is added there is an axis by itself.
OPTIONS = {
    max(option.opts, key=len).lstrip("-"): option
    for option in click.command(picture_options(lambda: None)).params
    if isinstance(option, click.Option)
}
PROMPT = "prompt"  # no option: words in it are looked for, and replaced
SEARCHED = "prompt", "negative_prompt"
MOST_CELLS = 1000
PLACES = 4  # behind the point, of numbers that are evenly spread: more would not be read off a label

_NUMBER = r"\s*([+-]?[0-9]{1,20}(?:\.[0-9]{0,10})?)\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\({_NUMBER}\)|\[\s*([0-9]{{1,9}})\s*\])?\s*")


class AxisError(ValueError):
    """An axis that cannot be read, or leads to nothing; the message says which value, why, and what to give."""


@dataclass(frozen=True)
class OptionAxis:
    """An axis as the command line takes it.

    Attributes:
        axis: the name and the values as they were written.
        settings: what the option makes of each value; of a prompt's, the words themselves.
    """

    axis: Axis
    settings: tuple[Any, ...]

    def set(self, settings: Settings, index: int) -> Settings:
        """Put one of the values among the settings of a picture.

        Raises:
            AxisError: the words to replace are not there.
        """
        value = self.settings[index]
        if self.axis.name != PROMPT:
            return {**settings, OPTIONS[self.axis.name].name or "": value}
        searched = self.settings[0]
        texts = {name: settings[name] for name in SEARCHED}
        if not any(searched in text for text in texts.values()):
            raise AxisError(
                f"{PROMPT}: {searched!r}, its first value, is not in the prompt, so nothing is replaced"
            )
        return {**settings, **{name: text.replace(searched, value) for name, text in texts.items()}}


def read_axis(text: str, context: click.Context) -> OptionAxis:
    """Read an axis as it is written on the command line.

    Args:
        text: a name of `OPTIONS`, or "prompt"; "="; and values between commas. Double quotes keep a comma within a
            value. For an option of numbers "5-20" counts up or down by one, "5-20(+5)" by the number in round
            brackets, and "2-8[4]" gives as many numbers as square brackets say, evenly spread (AUTOMATIC1111's
            notation).
        context: click's, for the options' own checks.

    Raises:
        AxisError: there is no such option, no value, or one that the option refuses.
    """
    name, _, told = text.partition("=")
    name = name.strip().lstrip("-")
    if name != PROMPT and name not in OPTIONS:
        raise AxisError(f"{name!r} is no axis; use {', '.join([PROMPT, *OPTIONS])}, as in steps=5,10,20")
    try:
        values = split(told)
    except csv.Error as error:
        raise AxisError(f"{name}={told}: the quotes do not match ({error})") from error
    if name == PROMPT:
        settings = tuple(values)
    else:
        option = OPTIONS[name]
        if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
            whole = isinstance(option.type, click.types.IntParamType)
            values = [number for value in values for number in counted_out(value, whole=whole)]
        settings = tuple(_converted(name, option, value, context) for value in values)
    if not values or (name == PROMPT and not values[0]):
        raise AxisError(f"{name}: no values; give some between commas, as in steps=5,10,20")
    if len(values) > MOST_CELLS:
        raise AxisError(f"{name}: {len(values)} values; give at most {MOST_CELLS}")
    return OptionAxis(Axis(name, tuple(values)), settings)


def split(text: str) -> list[str]:
    """Split at commas, and at line breaks, as a spreadsheet does; blanks after a comma are no part of a value.

    Raises:
        csv.Error: quotes that do not match.
    """
    return [*chain.from_iterable(csv.reader(StringIO(text, newline=""), skipinitialspace=True, strict=True))]


def counted_out(value: str, *, whole: bool) -> list[str]:
    """The numbers of a range such as "5-20(+5)", its end among them if it is reached; else the value alone.

    Args:
        value: any text.
        whole: leave out what comes behind the point of evenly spread numbers.

    Raises:
        AxisError: for a range without numbers, or of too many.
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        return [value]
    first, last = Decimal(match[1]), Decimal(match[2])
    if match[4]:
        count = int(match[4])
        step = (last - first) / max(count - 1, 1)
    else:
        step = Decimal(match[3] or (1 if last >= first else -1))
        count = int((last - first) / step) + 1 if step and (last - first) * step >= 0 else 0
    if not 1 <= count <= MOST_CELLS:
        raise AxisError(f"{value}: a range of {count or 'no'} numbers; give 1 to {MOST_CELLS}")
    numbers = [first + index * step for index in range(count)]
    if match[4]:  # a step that is written is exact, one that is reckoned need not be
        numbers = [Decimal(int(number)) if whole else round(number, PLACES) for number in numbers]
    return [f"{number.normalize():f}" for number in numbers]


def cross(settings: Settings, x: OptionAxis, y: OptionAxis | None) -> list[list[Settings]]:
    """The settings of every cell, by row and column.

    Raises:
        AxisError: for too many cells, or one setting on both axes.
    """
    if y is None:
        return [[x.set(settings, column) for column in range(len(x.settings))]]
    if x.axis.name == y.axis.name != PROMPT:
        raise AxisError(f"{x.axis.name}: is on both axes; choose another for one of them")
    if len(x.settings) * len(y.settings) > MOST_CELLS:
        raise AxisError(f"{len(x.settings)} x {len(y.settings)} cells; give at most {MOST_CELLS}")

    def cell(column: int, row: int) -> Settings:
        # words are replaced in the prompts that the other axis has set
        if x.axis.name == PROMPT != y.axis.name:
            return x.set(y.set(settings, row), column)
        return y.set(x.set(settings, column), row)

    return [[cell(column, row) for column in range(len(x.settings))] for row in range(len(y.settings))]


def _converted(name: str, option: click.Option, value: str, context: click.Context) -> Any:
    try:
        return option.process_value(context, [value] if option.multiple else value)
    except click.BadParameter as error:
        raise AxisError(f"{name}={value}: {error.message}") from error
