"""How a prompt is understood, as one types: how many tokens, in which chunks, with which weights."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from html import escape
from itertools import groupby

from inkpunk.models.learned import read_learned
from inkpunk.orders.options import settings_of
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.request import Request
from inkpunk.road.errors import RequestError
from inkpunk.road.settings import fields_of
from inkpunk_clip import LearnedWords, Timeline, Tokenizer, understand
from inkpunk_weights import CheckpointError

from inkpunk_studio.work.models import Models
from inkpunk_studio.work.words import Word

CHUNK = 75  # tokens of a prompt that fit into one of the text encoder's windows
LOOK_EVERY = 2.0  # seconds between two looks for learned words, while somebody types
STEPS = 25  # where the page leaves them to the model: for prompts that change on the way
LANGUAGE = ("prompt", "negative", "seed", "steps", "like", "emphasis", "plain-prompt")
"""The options that decide how prompts are read."""


@cache
def tokenizer() -> Tokenizer:
    """The one tokenizer."""
    return Tokenizer()


@dataclass
class _Looked:
    """What was found when the learned words of a model were last looked for."""

    there: tuple[Word, ...] = ()
    words: LearnedWords | None = None
    until: float = 0.0


class ModelWords:
    """The learned words that prompts for a model may use; files are looked for once in a while."""

    def __init__(self, models: Models) -> None:
        """Know none yet."""
        self._models = models
        self._looked = dict[str, _Looked]()

    def now(self, model: str | None = None) -> LearnedWords | None:
        """Those that are there now; None for none.

        Args:
            model: its name; the current one if None. One that is not listed, any more, has no words.
        """
        name = self._models.current if model is None else model
        looked = self._looked.setdefault(name, _Looked())
        if time.monotonic() >= looked.until:
            there = self._models.words_for(name)
            if there != looked.there:
                looked.words, looked.there = _read(there), there
            looked.until = time.monotonic() + LOOK_EVERY
        return looked.words


def _read(words: tuple[Word, ...]) -> LearnedWords | None:
    try:
        return read_learned([each.path for each in words], tokenizer()).words
    except CheckpointError:
        return None  # what draws tells of it


def reading_of(values: Mapping[str, object], words: LearnedWords | None = None) -> tuple[str, str]:
    """Tell how the prompt and the negative prompt are understood, as HTML each.

    Args:
        values: of options, by their names; only those of `LANGUAGE` count.
        words: that were learned.
    """
    try:
        told = Order.read({"prompt": "", **{name: values[name] for name in LANGUAGE if name in values}})
        request = Request(**fields_of(**settings_of({"seed": 0, **told.values})))
        steps = request.steps or STEPS
        texts, loras = request.asked_of(request.seeds[0])
        prompt, negative = (
            understand(text, steps, tokenizer(), words, request.language, composed=composed)
            for text, composed in zip(texts, (True, False), strict=True)
        )
    except (OrderError, RequestError, ValueError) as error:
        return _problem(str(error)), ""
    adapters = "".join(f"<li>adapter {escape(str(each.file))}: {each.weight:g}</li>" for each in loras)
    cut = request.language.chunking == "cut"
    show = partial(_shown, words=words, steps=steps, cut=cut)
    return show("prompt", prompt, more=adapters), show("negative prompt", negative)


def _problem(text: str) -> str:
    return f'<p class="reading problem">{escape(text)}</p>'


def _shown(
    name: str,
    parts: tuple[Timeline, ...],
    more: str = "",
    *,
    words: LearnedWords | None,
    steps: int,
    cut: bool,
) -> str:
    counts = [sum(len(chunk.text) for chunk in part.moments[0].chunks) for part in parts]
    count, chunks = sum(counts), max(len(part.moments[0].chunks) for part in parts)
    room = CHUNK * max(1, chunks)
    told = f"{count} of {CHUNK if cut else room} tokens"
    several = [f"{len(parts)} parts"] if len(parts) > 1 else []
    several += [f"{chunks} chunks"] if chunks > 1 else []
    title = " · ".join([told, *several])
    if not count and not more:
        return f'<p class="reading" aria-label="{name}">{title}</p>'
    body = "".join(_part(place, part, len(parts), steps, words) for place, part in enumerate(parts, start=1))
    return (
        f'<details class="reading"><summary aria-label="How the {name} is read: {title}">{title}</summary>'
        f"<ul>{body}{more}</ul></details>"
    )


def _part(place: int, part: Timeline, parts: int, steps: int, words: LearnedWords | None) -> str:
    ends = [*(moment.step for moment in part.moments[1:]), steps]
    lines = list[str]()
    for moment, end in zip(part.moments, ends, strict=True):
        if moment.step >= end:
            continue
        when = f"steps {moment.step + 1} to {end}" if len(part.moments) > 1 else ""
        which = f"part {place}, weight {part.weight:g}" if parts > 1 or part.weight != 1 else ""
        for number, chunk in enumerate(moment.chunks, start=1):
            chunked = f"chunk {number}" if len(moment.chunks) > 1 else ""
            title = ", ".join(each for each in (which, when, chunked) if each)
            head = f"<b>{title}</b> " if title else ""
            lines.append(f"<li>{head}{''.join(_words(chunk.text, words))}</li>")
    return "".join(lines)


def _words(tokens: tuple[tuple[int, float], ...], words: LearnedWords | None) -> Iterator[str]:
    for weight, group in groupby(tokens, key=lambda each: each[1]):
        pieces = "".join(_pieces([token for token, _ in group], words))
        if weight == 1:
            yield pieces
        else:
            kind = "more" if weight > 1 else "less"
            yield f'<span class="{kind}">{pieces}<sup>{weight:.3g}</sup></span>'


def _pieces(tokens: Sequence[int], words: LearnedWords | None) -> Iterator[str]:
    for name, group in groupby(tokens, key=lambda token: words.name_of(token) if words else ""):
        theirs = [*group]
        if name:
            yield f'<i class="learned">{escape(name)}: {len(theirs)} learned</i>'
        else:
            yield from (f"<i>{escape(tokenizer().piece(token))}</i>" for token in theirs)
