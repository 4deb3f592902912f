"""What Python is given, as plain values of Python's own: numbers of numpy and torch are numbers, and text is text.

Each reader takes a value's name, for the refusal. They check kinds alone, and no range.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
from torch import Tensor

ARRAYS: tuple[type[Any], ...] = (np.generic, np.ndarray, Tensor)
MOST_NUMBERS = 100_000  # in a row: pictures that are asked for at once
MOST_BITS = 1024  # of a whole number: as many digits as a float has, 308


class GivenError(TypeError):
    """A value of a kind that it cannot have; the message says which, and which kind it should have."""


def whole(name: str, value: object) -> int:
    """A whole number.

    Raises:
        GivenError: for any other kind, or one of more than 308 digits, which nothing here has.
    """
    held = _single(value)
    if isinstance(held, bool) or not isinstance(held, Integral):
        raise _refusal(name, value, "a whole number")
    read = int(held)
    if read.bit_length() > MOST_BITS:  # thousands of digits could not even be told
        raise GivenError(f"{name}: a number of more than 308 digits; give a smaller one")
    return read


def number(name: str, value: object) -> float:
    """A real number.

    Raises:
        GivenError: for any other kind, or one that no float can hold.
    """
    held = _single(value)
    if isinstance(held, bool) or not isinstance(held, Real):
        raise _refusal(name, value, "a number")
    try:
        return float(held)
    except OverflowError as error:
        raise GivenError(f"{name}: a number of more than 308 digits; give a smaller one") from error


def yes_or_no(name: str, value: object) -> bool:
    """True or False.

    Raises:
        GivenError: for any other kind.
    """
    held = _single(value)
    if not isinstance(held, bool):
        raise _refusal(name, value, "True or False")
    return held


def text(name: str, value: object) -> str:
    """Text.

    Raises:
        GivenError: for any other kind.
    """
    if not isinstance(value, str):
        raise _refusal(name, value, "text")
    return str.__str__(value)  # and not what an enumeration or another heir of str would say of itself


def whole_numbers(name: str, value: object) -> tuple[int, ...]:
    """Whole numbers in a row: a tuple, a list, a range, an array.

    Raises:
        GivenError: for any other kind, and for more of them than anybody draws.
    """
    if isinstance(value, range) and len(value[: MOST_NUMBERS + 1]) > MOST_NUMBERS:
        raise GivenError(f"{name}: more than {MOST_NUMBERS:,} numbers; give fewer at a time")
    return tuple(whole(name, each) for each in _row(name, value, "whole numbers, as in (7, 8)"))


def pair(name: str, value: object) -> tuple[float, float]:
    """Two numbers.

    Raises:
        GivenError: for any other kind.
    """
    what = "two numbers, as in (0.28, 5.42)"
    row = _row(name, value, what)
    if len(row) != 2:
        raise _refusal(name, value, what)
    return number(name, row[0]), number(name, row[1])


def seed_and_amount(name: str, value: object) -> tuple[int, float]:
    """A seed and a share of it, or text such as "8:0.2".

    Raises:
        GivenError: for any other kind.
    """
    what = "a seed and how much of it, as in '8:0.2' or (8, 0.2)"
    row = _parted(name, value, ":", what)
    try:
        if isinstance(value, str):
            row = [int(row[0]), float(row[1])]
    except ValueError as error:
        raise _refusal(name, value, what) from error
    return whole(name, row[0]), number(name, row[1])


def prompt_and_amount(name: str, value: object) -> tuple[str, float]:
    """A prompt and a share of it, or text such as "a fox:0.3", in which the last colon parts them.

    Raises:
        GivenError: for any other kind.
    """
    what = "a prompt and how much of it, as in 'a fox:0.3' or ('a fox', 0.3)"
    if isinstance(value, str):
        prompt, colon, amount = value.rpartition(":")
        try:
            row: list[Any] = [prompt, float(amount)] if colon else []
        except ValueError as error:
            raise _refusal(name, value, what) from error
    else:
        row = _row(name, value, what)
    if len(row) != 2:
        raise _refusal(name, value, what)
    return text(name, row[0]), number(name, row[1])


def size(name: str, value: object) -> tuple[int, int]:
    """A width and a height, or text such as "512x768".

    Raises:
        GivenError: for any other kind.
    """
    what = "a width and a height, as in '512x768' or (512, 768)"
    row = _parted(name, value, "x", what)
    try:
        if isinstance(value, str):
            row = [int(each) for each in row]
    except ValueError as error:
        raise _refusal(name, value, what) from error
    return whole(name, row[0]), whole(name, row[1])


def _parted(name: str, value: object, mark: str, what: str) -> list[Any]:
    row = [*value.split(mark)] if isinstance(value, str) else _row(name, value, what)
    if len(row) != 2:
        raise _refusal(name, value, what)
    return row


def lists(name: str, value: object) -> Mapping[str, Sequence[str]]:
    """Lists of text by their names.

    Raises:
        GivenError: for any other kind.
    """
    if not isinstance(value, Mapping):
        raise _refusal(name, value, "lists by their names, as in {'bird': ['raven', 'owl']}")
    told = cast("Mapping[object, object]", value)
    for key, entries in told.items():
        text(f"{name}, a name", key)
        for entry in _row(f"{name}, {key!r}", entries, "a list of text"):
            text(f"{name}, in {key!r}", entry)
    return cast("Mapping[str, Sequence[str]]", value)


def _single(value: Any) -> object:
    """What a tensor or an array without dimensions holds."""
    return value.item() if isinstance(value, ARRAYS) and value.ndim == 0 else value


def _row(name: str, value: Any, what: str) -> list[Any]:
    if isinstance(value, ARRAYS) and value.ndim == 1:
        return [*value.tolist()]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise _refusal(name, cast("object", value), what)
    return [*cast("Sequence[Any]", value)]


def _refusal(name: str, value: object, what: str) -> GivenError:
    return GivenError(f"{name}: must be {what}, not {type(value).__name__} {_shown(value)}")


def _shown(value: object) -> str:
    """A value on one line, as far as it can be shown."""
    try:
        shown = " ".join(repr(value)[:40].split())
    except Exception:  # a stranger's class; whole numbers of thousands of digits, too, refuse to be told
        return "of a kind that cannot be shown"
    return shown if shown.isprintable() else ascii(shown)


GIVEN: dict[str, Callable[[str, Any], object]] = {
    "prompt": text,
    "negative_prompt": text,
    "seeds": whole_numbers,
    "steps": whole,
    "guidance": number,
    "sampler": text,
    "spacing": text,
    "width": whole,
    "height": whole,
    "strength": number,
    "guidance_rescale": number,
    "guidance_interval": pair,
    "apg": yes_or_no,
    "eta": number,
    "like": text,
    "clip_skip": whole,
    "emphasis": text,
    "plain_prompt": yes_or_no,
    "wildcards": lists,
    "guess": yes_or_no,
    "masked_content": text,
    "only_masked": whole,
    "draft": yes_or_no,
    "tileable": text,
    "blend": prompt_and_amount,
    "vary": seed_and_amount,
    "seed_resize": size,
    "tile_size": whole,
    "resize": text,
    "match_colours": yes_or_no,
    "keep_alpha": yes_or_no,
}
"""How each field of a request is read, but for pictures and what goes with them."""
