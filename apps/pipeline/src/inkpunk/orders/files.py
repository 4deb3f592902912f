"""Files of orders: what each line asks for, with lists multiplied out and seeds given to those that have none."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from pathlib import Path
from typing import Any, cast

from inkpunk.orders.lines import Line, read_lines
from inkpunk.orders.options import OPTIONS, texts, whole
from inkpunk.orders.order import Order
from inkpunk.orders.tally import Tally, fingerprint
from inkpunk.orders.values import OrderError
from inkpunk.road.given import GivenError

COUNT = "count"
MOST_COUNT = 10_000_000
SEVERAL = {name for name, read in OPTIONS.items() if read is texts}
"""Options that take several values by nature: a list is one value of theirs."""
_SEED_DIGITS = 8  # hex: seeds of 32 bits, as those drawn by chance


@dataclass(frozen=True)
class Entry:
    """What a line asks for, one picture of it, or what is wrong with it.

    Attributes:
        line: where it begins, from 1.
        order: a whole order, with a seed; None for a line that asks for none.
        error: what is wrong with it, in one sentence; "" for an order.
        text: what stands there, where something is wrong with it.
    """

    line: int
    order: Order | None
    error: str = ""
    text: str = ""


def read_orders(
    path: str | Path, defaults: Mapping[str, Any] | None = None, form: str | None = None
) -> Iterator[Entry]:
    """Read a file's orders, one at a time, of any number of lines; what is wrong with one does not stop the rest.

    A list multiplies out, the last one fastest: `{"prompt": ["a raven", "an owl"], "steps": [10, 20]}` is four
    orders. Of options that take several values by nature, `SEVERAL`, a list is one value, and a list of lists
    multiplies out. `"count": 3` makes three of following seeds.

    A line without a seed gets one from what it says and how often that was said before: the same file has the same
    orders whenever it is read, and two lines that are equal give two pictures. All of a list's orders have the same.

    Args:
        path: a file as `inkpunk.orders.lines` reads it; "-" is standard input.
        defaults: what every line says that does not say otherwise, as the lines do, `count` too; no seed comes of it.
        form: "jsonl", "json", "csv" or "txt"; None for what the file's ending says.

    Raises:
        OrderError: before the first, for a file that is not there or is none of these; for defaults that cannot be.
    """
    usual = _named(defaults or {})
    if usual:
        _ = Order.read({"prompt": "", **{name: value for name, value in usual.items() if name != COUNT}})
        _count(usual)
    said = Tally()
    for line in read_lines(Path(path), form):
        yield from _orders(line, usual, said)


def count_orders(
    path: str | Path, defaults: Mapping[str, Any] | None = None, form: str | None = None
) -> Iterator[int]:
    """Count a file's orders without making them: how many there are in each line, one line at a time."""
    usual = _named(defaults or {})
    for line in read_lines(Path(path), form):
        try:
            values = _named(line.values or {})
            yield prod(map(len, _lists(usual | values).values())) * _count(usual | values)
        except OrderError:
            yield 1  # what is wrong with it


def _orders(line: Line, defaults: Mapping[str, Any], said: Tally) -> Iterator[Entry]:
    def wrong(error: Exception, values: object) -> Entry:
        return Entry(line.number, None, _shown(" ".join(str(error).split())), _json(values))

    if line.values is None:
        yield Entry(line.number, None, _shown(line.error), line.text)
        return
    try:
        own = _named(line.values)
        values = {**defaults, **own}
        count = _count(values)
        if "seed" not in values:
            values["seed"] = _seed(own, said)
        lists = _lists(values)
    except OrderError as error:
        yield wrong(error, line.values)
        return
    for chosen in product(*lists.values()):
        each = dict(zip(lists, chosen, strict=True))
        try:
            first = Order.read(each)
            others = (first.changed({"seed": f"+{more}"}) for more in range(1, count))
            for order in chain([first], others):
                yield Entry(line.number, order)
        except OrderError as error:  # the first, or seeds beyond the largest
            yield wrong(error, each)


def _shown(message: str) -> str:
    """A message whose control characters, which a file may have put there, are shown and not printed."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in message)


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, by names with hyphens."""
    told = dict[str, Any]()
    for name, value in values.items():
        name = name.strip().replace("_", "-")
        if name in told:
            raise OrderError(f"{name}: is given twice")
        if value is not None:
            told[name] = value
    return told


def _count(values: Mapping[str, Any]) -> int:
    try:
        count = whole(COUNT, values.get(COUNT, 1))
    except GivenError as error:
        raise OrderError(str(error)) from error
    if not 1 <= count <= MOST_COUNT:
        raise OrderError(f"{COUNT} {count}: must lie between 1 and {MOST_COUNT:,}")
    return count


def _lists(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What each option takes in turn."""
    return {name: _choices(name, value) for name, value in values.items() if name != COUNT}


def _choices(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    values = cast("list[object]", value)
    lists = sum(isinstance(each, list) for each in values)
    if name in SEVERAL:
        if lists and lists < len(values):
            raise OrderError(
                f"{name}: holds lists and others; give a list, or a list of lists to multiply out"
            )
        return values if lists else [values]
    if not values:
        raise OrderError(f"{name}: an empty list, which leaves nothing; leave it out")
    if lists:
        raise OrderError(f"{name}: a list in a list; a single one multiplies out")
    return values


def _seed(own: Mapping[str, Any], said: Tally) -> int:
    """A seed for a line that says none."""
    content = _json(own)
    before = said.add(fingerprint(hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()))
    told = f"{before}\n{content}".encode(errors="surrogatepass")
    return int(hashlib.sha256(told).hexdigest()[:_SEED_DIGITS], 16)


def _json(values: object) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
