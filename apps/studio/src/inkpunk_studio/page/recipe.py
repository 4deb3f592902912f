"""A recipe as the page shows it, and the parts of it that can be taken over."""

from collections.abc import Collection, Mapping
from html import escape

from inkpunk.orders.values import Value

from inkpunk_studio.gallery.matching import model_of
from inkpunk_studio.gallery.recipes import Opened
from inkpunk_studio.page.fields import label_of
from inkpunk_studio.page.stage import address
from inkpunk_studio.work.limits import ACCEPTED
from inkpunk_studio.work.models import Models

PARTS: Mapping[str, Collection[str]] = {
    "Prompt": ("prompt", "negative", "blend", "emphasis", "plain-prompt"),
    "Seed": ("seed", "vary", "seed-resize"),
    "Size": (
        *("width", "height", "tile-size", "upscaler"),
        *("enlarge", "enlarge-by", "enlarge-strength", "enlarge-steps", "enlarge-sampler"),
    ),
    "Model and adapters": ("model", "lora"),
}
REST = "Sampler, steps and all else"
ALL = (*PARTS, REST)
"""The parts of a recipe that can be taken over by themselves."""


def names_of(parts: Collection[str]) -> frozenset[str]:
    """The options of some parts."""
    named = {name for part in parts for name in PARTS.get(part, ())}
    if REST in parts:
        named |= ACCEPTED - {name for names in PARTS.values() for name in names}
    return frozenset(named)


def values_here(opened: Opened, models: Models) -> dict[str, Value]:
    """What an order says that draws a picture here: its recipe, with the model's name in the list of those here."""
    model = model_of(opened, models.known())
    return dict(opened.values) | ({} if model is None else {"model": model})


def notes_of(opened: Opened, models: Models) -> tuple[str, ...]:
    """What of a recipe cannot be taken over here, a line each."""
    if not opened.program or model_of(opened, models.known()) is not None:
        return opened.notes
    return (
        *opened.notes,
        f"Its model, {_model(opened) or 'which it does not tell'}, is not here: the current one is taken.",
    )


def card(opened: Opened, models: Models, *, shown: bool = True) -> str:
    """A picture and its recipe.

    Args:
        opened: what it says.
        models: that are here.
        shown: whether the page may show its file.
    """
    name = escape(opened.path.name, quote=True)
    where = escape(address(opened.path), quote=True)
    alt = escape(opened.prompt or "A picture without a prompt", quote=True)
    picture = (
        f'<figure class="drawn"><a href="{where}" target="_blank" rel="noopener" aria-label="Open {name}">'
        f'<img src="{where}" alt="{alt}"></a></figure>'
        if shown
        else ""
    )
    facts = {"File": f"{opened.path.name}, {opened.format}, {opened.width} x {opened.height}"}
    facts |= {"Drawn by": opened.program} if opened.program else {}
    facts |= {"Model": _model(opened)} if opened.model else {}
    facts |= {label_of(each): _in_words(value) for each, value in opened.values.items()}
    rows = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in facts.items())
    notes = "".join(f'<p class="note">{escape(each)}</p>' for each in notes_of(opened, models))
    text = (
        f"<details><summary>Recipe as text</summary><pre>{escape(opened.infotext)}</pre></details>"
        if opened.infotext
        else ""
    )
    return f'<div class="stage opened">{picture}{notes}<dl class="recipe">{rows}</dl>{text}</div>'


def _model(opened: Opened) -> str:
    return " ".join(filter(None, [opened.model, opened.model_hash and f"[{opened.model_hash}]"]))


def _in_words(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
