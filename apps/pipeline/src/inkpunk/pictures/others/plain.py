"""Strangers' values made plain: JSON that may be anything, numbers that may be text, text that may be a novel."""

import json
import math
import re
from typing import cast

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.json_values import MOST_VALUES, has_too_many_values

MOST_CHARACTERS = 8_000_000  # of a recipe; ComfyUI's largest workflows have a tenth of it
LINE = 160


def in_a_line(value: object) -> str:
    """Any value as text of one line, cut where it is long."""
    text = value if isinstance(value, str) else f"{value!s:.2000}"
    text = " ".join(text[: 8 * LINE].split())
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= LINE else f"{text[: LINE - 4]} ..."


def loaded(text: str, name: str) -> object:
    """The value of JSON text; `name`: what messages call it.

    Raises:
        PictureError: for what is no JSON, or no recipe by its size.
    """
    if len(text) > MOST_CHARACTERS:
        raise PictureError(f"its {name} has {len(text):,} characters, which no recipe has")
    if has_too_many_values(text):
        raise PictureError(f"its {name} has more than {MOST_VALUES:,} values, which no recipe has")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PictureError(f"its {name} is not JSON: {in_a_line(str(error))}") from error


def is_object(text: str) -> bool:
    """Whether text is an object of JSON; a prompt may begin with a brace, too."""
    try:
        return text.lstrip().startswith("{") and isinstance(loaded(text, "text"), dict)
    except PictureError:
        return False


def mapping(value: object) -> dict[str, object]:
    """An object of JSON; an empty one for any other value."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """A list of JSON; an empty one for any other value."""
    return cast("list[object]", value) if isinstance(value, list) else []


def text(value: object) -> str:
    """Text; "" for any other value."""
    return value if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A finite number, or text of one; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value) if not isinstance(value, str) or len(value) < 40 else math.nan
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) else None


def whole(value: object) -> int | None:
    """A whole number of at most 20 digits, or text of one; None for any other value."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**20 else None
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
        return int(value.strip())  # int by itself knows fewer kinds of white space than \s
    read = number(value)
    return int(read) if read is not None and read.is_integer() and abs(read) < 2**53 else None


def size(value: object) -> tuple[int, int] | None:
    """A width and a height from text such as "512x768"."""
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX]\s*([0-9]{1,6})\s*", text(value))
    return (int(found[1]), int(found[2])) if found else None


def file_name(value: object) -> str:
    """A file as another program names it, within that program's folder: never one above, or on another machine."""
    parts = re.split(r"[\\/]+", text(value)[:500])
    kept = [each for each in parts if each.strip(". ~") and ":" not in each]
    return "/".join(kept)


def is_off(value: object) -> bool:
    """Whether a setting that is not known here is one that is switched off: nothing, or a list of nothing."""
    inner = [*mapping(value).values(), *items(value)]
    if inner or isinstance(value, dict | list):
        return all(each in (None, False, "", 0) or each == [] or each == {} for each in inner)
    return value in (None, False, "", "None", "none", 0)
