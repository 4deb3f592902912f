"""Styles: prompts with room for another, in a `styles.csv` as AUTOMATIC1111 keeps it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inkpunk_studio.settings import Settings

FILE = "styles.csv"
ROOM = "{prompt}"
"""Where a style has the prompt; one without it is laid behind."""


@dataclass(frozen=True)
class Style:
    """A style.

    Attributes:
        name: what it is chosen by.
        prompt, negative_prompt: what it has of each.
    """

    name: str
    prompt: str
    negative_prompt: str


def styles(settings: Settings) -> Mapping[str, Style]:
    """By their names, those in the folders of models and of pictures; the first of a name counts."""
    found = dict[str, Style]()
    for folder in (*settings.models, settings.pictures):
        with suppress(OSError, ValueError, csv.Error):  # no such file, or none that can be read to its end
            for style in _read(folder / FILE):
                found.setdefault(style.name, style)
    return found


def styled(
    prompt: str, negative: str, names: Sequence[str], there: Mapping[str, Style]
) -> tuple[str, str, list[str]]:
    """A prompt and a negative prompt with styles laid around them in turn, and a line for each that is not there."""
    warnings = list[str]()
    for name in names:
        if style := there.get(name):
            prompt, negative = _laid(style.prompt, prompt), _laid(style.negative_prompt, negative)
        elif name not in ("", "None"):
            warnings.append(
                f"styles {name[:60]!r}: is not there; /sdapi/v1/prompt-styles lists those that are"
            )
    return prompt, negative, warnings


def _laid(style: str, prompt: str) -> str:
    if ROOM in style:
        return style.replace(ROOM, prompt)
    return ", ".join(filter(None, (prompt.strip(), style.strip())))


def _read(path: Path) -> Iterator[Style]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if name := row.get("name"):
                yield Style(name, row.get("prompt") or "", row.get("negative_prompt") or "")
