"""Axes of a grid: a setting that decides a picture, and the values it takes, as in `steps=5,10,20`."""

import csv
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from itertools import chain
from typing import Any

from inkpunk.pictures.grid_facts import Axis

Settings = Mapping[str, Any]
Convert = Callable[[str, str], Any]
"""From the name of a setting and a value as it is written to what it means; raises `AxisError`."""

PROMPT = "prompt"  # whose words are looked for, and replaced
MOST_CELLS = 1000
PLACES = 4  # behind the point, of numbers that are evenly spread: more would not be read off a label

_NUMBER = r"\s*([+-]?[0-9]{1,20}(?:\.[0-9]{0,10})?)\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\({_NUMBER}\)|\[\s*([0-9]{{1,9}})\s*\])?\s*")


class AxisError(ValueError):
    """An axis that cannot be read, or leads to nothing; the message says which value, why, and what to give."""


@dataclass(frozen=True)
class OptionAxis:
    """An axis, and what its values mean.

    Attributes:
        axis: the name and the values as they were written.
        settings: what each value means; of a prompt's, the words themselves. None leaves it open.
        key: what the setting is called among a picture's.
        searched: what the prompts are called there, in which words are replaced.
    """

    axis: Axis
    settings: tuple[Any, ...]
    key: str
    searched: tuple[str, ...]

    def set(self, settings: Settings, index: int) -> Settings:
        """Put one of the values among the settings of a picture.

        Raises:
            AxisError: the words to replace are not there.
        """
        value = self.settings[index]
        if self.axis.name != PROMPT:
            return {**settings, self.key: value}
        wanted = self.settings[0]
        found = {name: settings[name] for name in self.searched if settings.get(name)}
        if not any(wanted in text for text in found.values()):
            raise AxisError(
                f"{PROMPT}: {wanted!r}, its first value, is not in the prompt, so nothing is replaced"
            )
        return {**settings, **{name: text.replace(wanted, value) for name, text in found.items()}}


def read_values(text: str, names: Collection[str], numbers: Mapping[str, bool]) -> Axis:
    """Read a name and the values that it takes.

    Args:
        text: one of the names, or "prompt"; "="; and values between commas. Double quotes keep a comma within a
            value. For a setting of numbers "5-20" counts up or down by one, "5-20(+5)" by the number in round
            brackets, and "2-8[4]" gives as many numbers as square brackets say, evenly spread (AUTOMATIC1111's
            notation).
        names: of the settings that may differ.
        numbers: of those that are numbers, whether they are whole.

    Raises:
        AxisError: there is no such setting, or no value.
    """
    name, _, told = text.partition("=")
    name = name.strip().lstrip("-")
    if name != PROMPT and name not in names:
        raise AxisError(
            f"{name!r} is no axis; use {', '.join(dict.fromkeys([PROMPT, *names]))}, as in steps=5,10,20"
        )
    try:
        values = split(told)
    except csv.Error as error:
        raise AxisError(f"{name}={told}: the quotes do not match ({error})") from error
    if name in numbers:
        values = [each for value in values for each in counted_out(value, whole=numbers[name])]
    if not values or (name == PROMPT and not values[0]):
        raise AxisError(f"{name}: no values; give some between commas, as in steps=5,10,20")
    if len(values) > MOST_CELLS:
        raise AxisError(f"{name}: {len(values)} values; give at most {MOST_CELLS}")
    return Axis(name, tuple(values))


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
