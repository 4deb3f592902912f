"""What a grid of pictures remembers: its axes, and the facts of every cell."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, cast

from inkpunk.pictures.facts import Facts, PictureError

_SAYS_LITTLE = re.compile(r"[+-]?[0-9.]+|true|false")


@dataclass(frozen=True)
class Axis:
    """What differs from column to column of a grid, or from row to row.

    Attributes:
        name: of the setting, as the option of `inkpunk grid` has it: "steps".
        values: one a column or row, as they were written.
    """

    name: str
    values: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values as they are read at a glance: a number says of what, and so does a value of blanks."""
        return tuple(self._label(value.strip()) for value in self.values)

    def _label(self, value: str) -> str:
        if not value:
            return f"no {self.name}"
        return f"{self.name} {value}" if _SAYS_LITTLE.fullmatch(value) else value


@dataclass(frozen=True)
class GridFacts:
    """All it takes to draw a grid again.

    Attributes:
        x: what differs from column to column.
        y: what differs from row to row; None for a single row.
        cells: the facts of each cell, row by row.
    """

    x: Axis
    y: Axis | None
    cells: tuple[tuple[Facts, ...], ...]

    @property
    def base(self) -> Facts:
        """The facts of the first cell, which stand for the grid where only one picture's are looked for."""
        return self.cells[0][0]

    def to_json(self) -> str:
        """The first cell's facts, as `Facts.to_json` has them, and in `grid` the axes and how each cell differs.

        `Facts.from_json` passes over the latter, and so reads the first cell's.
        """
        base = asdict(self.base)
        cells = [[_difference(base, asdict(cell)) for cell in row] for row in self.cells]
        grid = {"x": asdict(self.x), "y": asdict(self.y) if self.y else None, "cells": cells}
        return json.dumps(base | {"grid": grid})

    @classmethod
    def from_json(cls, text: str) -> "GridFacts":
        """Read `to_json`'s text, which may come from a stranger.

        Raises:
            PictureError: for anything but the facts of a grid, each of its type.
        """
        Facts.from_json(text)  # refuses what is not even the facts of a picture
        base = cast("dict[str, Any]", json.loads(text))
        grid = base.pop("grid", None)
        if grid is None:
            raise PictureError("the facts of a single picture, not of a grid")
        try:
            x, y = _axis(grid["x"]), None if grid["y"] is None else _axis(grid["y"])
            cells = tuple(tuple(Facts.from_values({**base, **cell}) for cell in row) for row in grid["cells"])
        except (KeyError, TypeError) as error:
            raise PictureError(f"the grid's facts are not as inkpunk writes them: {error!r}") from error
        if {len(row) for row in cells} != {len(x.values)} or len(cells) != (len(y.values) if y else 1):
            raise PictureError("the grid has other cells than its axes have values")
        return cls(x, y, cells)


def _difference(base: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cell.items() if value != base[name]}


def _axis(told: dict[str, Any]) -> Axis:
    name, values = told["name"], told["values"]
    texts = isinstance(values, list) and all(isinstance(value, str) for value in cast("list[object]", values))
    if not isinstance(name, str) or not texts or not values:
        raise TypeError(f"an axis of {str(told)[:40]}")
    return Axis(name, tuple(cast("list[str]", values)))


def cell_name(x: Axis, y: Axis | None, column: int, row: int) -> str:
    """What a refusal calls a cell: "sampler=euler, steps=5"."""
    name = f"{x.name}={x.values[column]}"
    return name if y is None else f"{name}, {y.name}={y.values[row]}"
