"""Files of requests, line by line: JSONL, CSV, or one prompt a line. A bad line does not stop the rest."""

import csv
import io
import json
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from inkpunk.orders.values import OrderError

STANDARD_INPUT = Path("-")
MOST_CHARACTERS = (
    1 << 22
)  # of a line: no request is as long, and a file without any line end does not fill memory
NO_TEXT = "\udcff"
COMMENT = "#"  # as in wildcards
DELIMITERS = ",;\t"  # a spreadsheet writes the one that its user's language leaves free


@dataclass(frozen=True)
class Line:
    """A line of a file.

    Attributes:
        number: from 1: where it begins.
        values: what it sets; None for a line that cannot be read.
        error: why not, in a sentence.
        text: what stands there, of a line that cannot be read.
    """

    number: int
    values: Mapping[str, Any] | None
    error: str = ""
    text: str = ""


def form_of(path: Path, form: str | None = None) -> str | None:
    """The form that a file has by its ending, a key of `READERS`, or the one it is said to have.

    None for standard input of which nothing is said: its first character tells, a { or a [ for JSON.

    Raises:
        OrderError: for a file that is not there, or of which neither tells.
    """
    if path != STANDARD_INPUT:
        if not path.exists():
            raise OrderError(f"{path}: no such file")
        if path.is_dir():
            raise OrderError(f"{path}: a folder; give a file of requests")
    elif form is None:
        return None
    if form is None:
        form = ENDINGS.get(path.suffix.lower())
    if form not in READERS:
        raise OrderError(
            f"{path}: requests are read from {', '.join(ENDINGS)}; name it so, or say which it is with --as"
        )
    return form


def read_lines(path: Path, form: str | None = None) -> Iterator[Line]:
    """Read a file's lines, one at a time; blank ones are passed over.

    It is UTF-8, with a byte order mark or without, or UTF-16 with one; lines end as on any system.

    Args:
        path: the file; - is standard input.
        form: a key of `READERS`; None for what the ending says.

    Raises:
        OrderError: for a file that is not there or is none of these; for a CSV without a header that can be meant.
    """
    form = form_of(path, form)
    with ExitStack() as stack:
        if path == STANDARD_INPUT:
            file: Any = sys.stdin.buffer
            if not isinstance(file, io.BufferedReader):
                file = io.BufferedReader(file)
        else:
            file = stack.enter_context(path.open("rb"))
        start: bytes = file.peek(4)
        if form is None:
            form = {b"{": "jsonl", b"[": "json"}.get(start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1], "txt")
        wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
        texts = stack.enter_context(
            closing(_texts(cast("io.BufferedIOBase", file), "utf-16" if wide else "utf-8-sig"))
        )
        yield from READERS[form](path, texts)


Texts = Iterator[tuple[int, str]]


def _texts(file: io.BufferedIOBase, encoding: str) -> Generator[tuple[int, str]]:
    """Each line's number and text; what is no text is kept as lone surrogates, which `_problem` finds."""
    text = io.TextIOWrapper(cast("Any", file), encoding, errors="surrogateescape")
    number = 0
    try:
        while line := text.readline(MOST_CHARACTERS):
            number += 1
            yield number, line
            while len(line) == MOST_CHARACTERS and not line.endswith("\n"):
                line = text.readline(MOST_CHARACTERS)
    except UnicodeDecodeError:  # UTF-16 that breaks off
        yield number + 1, NO_TEXT
    finally:
        text.detach()  # or standard input would be closed with it


def _problem(text: str) -> str | None:
    """What is wrong with a line whatever form it has."""
    if len(text) >= MOST_CHARACTERS:
        return f"a line of more than {MOST_CHARACTERS:,} characters; is this a file of requests?"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"not UTF-8 at character {error.start + 1}; save the file as UTF-8"
    return None


def _read_each(texts: Texts, read: Callable[[str], Mapping[str, Any]]) -> Iterator[Line]:
    for number, text in texts:
        if not text.strip():
            continue
        if problem := _problem(text):
            yield Line(number, None, problem, text)
            continue
        try:
            yield Line(number, read(text))
        except OrderError as error:
            yield Line(number, None, str(error), text)


def _jsonl(path: Path, texts: Texts) -> Iterator[Line]:
    """A mapping a line."""
    return _read_each(texts, mapping_of)


def _json(path: Path, texts: Texts) -> Iterator[Line]:
    """One list of mappings, which is read whole and counted in place of lines; or a mapping a line."""
    for number, text in texts:
        if text.lstrip().startswith("["):
            yield from _list(path, text + "".join(each for _, each in texts))
        elif text.strip():
            yield from _jsonl(path, chain([(number, text)], texts))


def _list(path: Path, text: str) -> Iterator[Line]:
    try:
        told: object = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise OrderError(f"{path}: begins as a list and is no JSON: {error}") from error
    assert isinstance(told, list)  # it begins so
    for number, each in enumerate(cast("list[object]", told), 1):
        if isinstance(each, dict):
            yield Line(number, cast("dict[str, Any]", each))
        else:
            yield Line(number, None, f"not a mapping but {json.dumps(each)[:40]}", json.dumps(each))


def mapping_of(text: str) -> dict[str, Any]:
    """Read a mapping in JSON.

    Raises:
        OrderError: for what is none.
    """
    try:
        told: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except OrderError:
        raise
    except json.JSONDecodeError as error:
        raise OrderError(
            f"not JSON at character {error.pos + 1} ({error.msg}); a line is as "
            '{"prompt": "a raven", "steps": 20}'
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise OrderError(f"not to be read: {error}") from error
    if not isinstance(told, dict):
        raise OrderError(f"not a mapping but {text.strip()[:40]}; a line is as " + '{"prompt": "a raven"}')
    return cast("dict[str, Any]", told)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        names = [name for name, _ in pairs]
        raise OrderError(f"{next(each for each in names if names.count(each) > 1)} is given twice")
    return told


def _no_number(name: str) -> float:
    raise OrderError(f"{name} is no number")


def _csv(path: Path, texts: Texts) -> Iterator[Line]:
    """A header of option names, and a row a line, whose empty cells are not given."""
    last = 0

    def numbered() -> Iterator[str]:
        nonlocal last
        for last, text in texts:  # noqa: B007
            yield text

    first = next((text for _, text in texts if text.strip()), "")
    mark = max(DELIMITERS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=mark), list[str]())]
    named = [name for name in header if name]
    if not named:
        raise OrderError(f"{path}: empty; a CSV's first line has the names of options, as prompt,steps,seed")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise OrderError(f"{path}: its header has {twice!r:.80} twice")
    rows = csv.reader(numbered(), delimiter=mark, strict=True)
    begin = last
    while True:
        begin = last + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(begin, None, f"not CSV: {error}; a quote that is open?", f"{begin}: {error}")
            continue
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        text = mark.join(cells)
        if problem := _problem(text):
            yield Line(begin, None, problem, text)
        elif any(cells[len(header) :]) or any(
            cell and not name for name, cell in zip(header, cells, strict=False)
        ):
            yield Line(begin, None, f"{len(cells)} cells under a header of {len(named)}", text)
        else:
            yield Line(begin, {name: _cell(cell) for name, cell in zip(header, cells, strict=False) if cell})


def _cell(text: str) -> object:
    """A list where a cell is one in JSON, as ["a raven", "an owl"]; its text else."""
    if text.startswith("[") and text.endswith("]"):
        try:
            return json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            pass  # a prompt, as in [raven:owl:0.5]
    return text


def _txt(path: Path, texts: Texts) -> Iterator[Line]:
    """A prompt a line; those that begin with # are comments."""
    prompts = ((number, text) for number, text in texts if not text.lstrip().startswith(COMMENT))
    return _read_each(prompts, lambda text: {"prompt": text.strip()})


READERS: dict[str, Callable[[Path, Texts], Iterator[Line]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "txt": _txt,
}
"""By the name of a form."""
ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "txt",
}
