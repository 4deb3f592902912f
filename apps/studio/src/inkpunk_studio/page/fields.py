"""A component for each option of `inkpunk generate` and `edit`, made from what the command line tells of it."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any, TypeAlias, cast

import click
import gradio as gr
from inkpunk.cli.edit import edit
from inkpunk.cli.generate import generate
from inkpunk.cli.options.choices import RESIZES
from inkpunk.orders.options import OPTIONS, flag, texts
from inkpunk.orders.values import Value
from inkpunk_sampling import SAMPLERS, SPACINGS

DEFAULT = "default"
YES_OR_NO = {"yes": True, "no": False}

LISTED = ("model", "upscaler")
"""Options that name files of folders that the studio knows: one chooses among those that are there."""

LABELS = {
    "negative": "Negative prompt",
    "apg": "Adaptive projected guidance",
    "clip-skip": "CLIP skip",
    "like": "Follow another program",
    "lora": "Adapters",
}
"""Where an option's own name is no good label."""

SUGGESTED: Mapping[str, Sequence[str]] = {
    "sampler": tuple(SAMPLERS),
    "enlarge-sampler": tuple(SAMPLERS),
    "spacing": tuple(SPACINGS),
    "resize": RESIZES,
    "device": ("cpu", "cuda", "mps"),
}
"""What is usual for options that take other texts, too."""

OTHER = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
USUAL = re.compile(r"\s*\[default: ([^\]]*)\]")
GIVEN = {"init": "the picture", "like": "the program that is followed"}
"""What the command line's names of options become in a sentence."""

Made: TypeAlias = gr.Textbox | gr.Dropdown | gr.Checkbox
Show = Callable[[Value | None], object]
Tell = Callable[[object], object]


@dataclass(frozen=True)
class Field:
    """An option, and the component that it is set with.

    Attributes:
        name: the option's long name.
        component: what shows it.
        show: from an option's value, or None where it is left open, to what the component shows.
        tell: back; None where it is left open.
    """

    name: str
    component: Made
    show: Show
    tell: Tell


@cache
def parameters() -> Mapping[str, click.Option]:
    """What the command line tells of each option, by its long name."""
    told = dict[str, click.Option]()
    for parameter in (*generate.params, *edit.params):
        if isinstance(parameter, click.Option):
            for each in parameter.opts:
                if each.startswith("--"):
                    told.setdefault(each.removeprefix("--"), parameter)
    return told


def label_of(name: str) -> str:
    """What an option is called on the page."""
    return LABELS.get(name) or name.replace("-", " ").capitalize()


def help_of(name: str) -> tuple[str, str]:
    """What the command line says of an option, without its talk of the command line; and of what is usual."""
    option = parameters().get(name)
    told = (option.help or "").replace(" Can be given several times.", "") if option else ""
    told = OTHER.sub(lambda match: GIVEN.get(match[1]) or label_of(match[1]).lower(), told)
    usual = USUAL.search(told)
    return USUAL.sub("", told).strip(), usual[1] if usual else ""


def field(name: str, listed: Sequence[str] = (), **looks: Any) -> Field:
    """Make the field of an option.

    Args:
        name: of the option.
        listed: what can be chosen, for one of `LISTED`.
        looks: of the component, as Gradio takes them.
    """
    read, option = OPTIONS[name], parameters().get(name)
    told, usual = help_of(name)
    common: dict[str, Any] = {"label": label_of(name), "info": told or None} | looks
    kind = option.type if option else None
    if name in LISTED:
        return _chosen(name, listed, common)
    if name in SUGGESTED:
        return _chosen(name, SUGGESTED[name], common | {"allow_custom_value": True})
    if isinstance(kind, click.Choice):
        return _chosen(name, [str(each) for each in kind.choices], common)
    if read is flag:
        if option is not None and option.secondary_opts:  # left open, it is neither
            return _three(name, common)
        return Field(name, gr.Checkbox(value=False, **common), bool, lambda shown: True if shown else None)
    common.setdefault("placeholder", usual or None)
    if read is texts:
        return Field(
            name, gr.Textbox(value="", lines=2, **common), _names if name == "lora" else _lines, _told_lines
        )
    # numbers, too: a number's box has no way to be empty, and no room for the 63 bits of a seed
    return Field(name, gr.Textbox(value="", **common), _text, _told_text)


def told(fields: Iterable[Field], shown: Iterable[object]) -> dict[str, object]:
    """What components that show so much say, by the names of options; what is left open is not among it."""
    values = {each.name: each.tell(value) for each, value in zip(fields, shown, strict=True)}
    return {name: value for name, value in values.items() if value is not None}


def model_of(chosen: object) -> str | None:
    """The name of the model that the choice of one shows; None for the current one."""
    return None if chosen in (None, DEFAULT) else str(chosen)


def _chosen(name: str, choices: Sequence[str], common: dict[str, Any]) -> Field:
    box = gr.Dropdown([DEFAULT, *choices], value=DEFAULT, **common)

    def show(value: Value | None) -> str:
        told = "" if value is None else str(value)
        if told and common.get("allow_custom_value"):
            return told
        return next((each for each in (told, PurePath(told).stem) if each in choices), DEFAULT)

    return Field(name, box, show, lambda shown: None if shown in (None, "", DEFAULT) else shown)


def _three(name: str, common: dict[str, Any]) -> Field:
    box = gr.Dropdown([DEFAULT, *YES_OR_NO], value=DEFAULT, **common)
    return Field(
        name,
        box,
        lambda value: (
            DEFAULT if value is None else next(word for word, each in YES_OR_NO.items() if each == value)
        ),
        lambda shown: YES_OR_NO.get(str(shown)),
    )


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _told_text(shown: object) -> str | None:
    return shown.strip() or None if isinstance(shown, str) else None


def _lines(value: object) -> str:
    told = cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()
    return "\n".join(map(str, told))


def _names(value: object) -> str:
    """As `_lines`, without the folders that a recipe tells: those that the studio knows are looked in anyway."""
    return "\n".join(PurePath(line).name for line in _lines(value).splitlines())


def _told_lines(shown: object) -> tuple[str, ...] | None:
    lines = [line.strip() for line in str(shown or "").splitlines()]
    return tuple(line for line in lines if line) or None
