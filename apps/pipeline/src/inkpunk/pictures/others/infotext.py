"""AUTOMATIC1111's infotext, taken apart: the prompt, the negative prompt and a line of `Key: value` pairs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.json_values import MOST_VALUES, has_too_many_values
from inkpunk.pictures.others.plain import MOST_CHARACTERS

NEGATIVE = "Negative prompt:"
LEAST_PAIRS = 3  # of a line of settings: fewer may be a prompt's
MOST_PAIRS = 1000
MOST_PIECES = 10_000
MOST_BEHIND = 100  # lines

_FIRST = re.compile(r"\s*Steps:\s*\d")
_KEY = re.compile(r"\s*(\w[\w \-/.+()]{0,79}?)\s*:\s*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Infotext:
    """An infotext's parts.

    Attributes:
        prompt, negative: as they stand.
        pairs: the settings, in their order; of a value in JSON, what it holds.
        rest: lines behind the settings.
        negatives: how many lines begin as a negative prompt does; more than one is ambiguous.
    """

    prompt: str
    negative: str
    pairs: tuple[tuple[str, object], ...]
    rest: tuple[str, ...]
    negatives: int


def split(text: str) -> Infotext:
    """Take an infotext apart.

    Raises:
        PictureError: for text that has no line of settings.
    """
    if len(text) > MOST_CHARACTERS:
        raise PictureError(f"its infotext has {len(text):,} characters, which no recipe has")
    if has_too_many_values(text):
        raise PictureError(f"its infotext has more than {MOST_VALUES:,} values, which no recipe has")
    lines = [line.rstrip("\r") for line in text.strip().split("\n")]
    place = _settings_in(lines)
    told, rest = lines[:place], tuple(line for line in lines[place + 1 :] if line.strip())
    begins = [index for index, line in enumerate(told) if line.lstrip().startswith(NEGATIVE)]
    first = begins[0] if begins else len(told)
    prompt, negative = "\n".join(told[:first]), "\n".join(told[first:])
    negative = negative.lstrip().removeprefix(NEGATIVE)
    return Infotext(prompt.strip(), negative.strip(), tuple(pairs(lines[place])), rest, len(begins))


def _settings_in(lines: list[str]) -> int:
    """The place of the last line of settings: a prompt may hold lines that look like one."""
    places = range(len(lines) - 1, -1, -1)
    begin = [place for place in places if _FIRST.match(lines[place])]
    for found in (begin, places):
        for place in found[:MOST_BEHIND]:
            if _count(lines[place]) >= LEAST_PAIRS:
                return place
    raise PictureError("its text has no line of settings, as AUTOMATIC1111 writes it")


def _count(line: str) -> int:
    return sum(1 for _, pair in zip(range(LEAST_PAIRS), pairs(line), strict=False) if pair)


def pairs(line: str) -> Iterator[tuple[str, object]]:
    """The pairs of a line; what stands between commas and has no key belongs to the value before."""
    place, key, value, count = 0, "", "", 0
    more = list[str]()
    json_left = True  # an object that never ends is looked for once
    while place < len(line):
        if count == MOST_PAIRS or len(more) == MOST_PIECES:  # no recipe has: the rest is one value
            more.append(line[place:])
            break
        found = _KEY.match(line, place)
        if found is None:
            end = _comma(line, place)
            more.append(line[place:end])
            place = end + 1
            continue
        if key:
            yield key, _whole(value, more)
        count += 1
        more.clear()
        key, place = found[1].strip(), found.end()
        value, place, json_left = _value(line, place, json_left)
    if key:
        yield key, _whole(value, more)


def _whole(value: object, more: list[str]) -> object:
    """A value with what stood behind its comma."""
    return ",".join([value, *more]).strip() if isinstance(value, str) else value


def _value(line: str, place: int, json_left: bool) -> tuple[object, int, bool]:
    """A value, the place behind the comma that ends it, and whether to look for JSON again."""
    if line.startswith('"', place) and (quoted := _QUOTED.match(line, place)):
        end = quoted.end()
        if not line[end : _comma(line, end)].strip():
            try:
                return str(json.loads(quoted[0], strict=False)), _comma(line, end) + 1, json_left
            except ValueError:
                return quoted[0][1:-1], _comma(line, end) + 1, json_left
    if json_left and line.startswith(("{", "["), place):
        try:
            value, end = _DECODER.raw_decode(line, place)
            return value, _comma(line, end) + 1, json_left
        except (ValueError, RecursionError):
            json_left = False
    end = _comma(line, place)
    return line[place:end], end + 1, json_left


def _comma(line: str, place: int) -> int:
    found = line.find(",", place)
    return len(line) if found < 0 else found
