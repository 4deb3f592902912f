"""A line of weighted text to chunks of tokens, since the text encoder reads no more than 77 of them at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from inkpunk_clip.prompts.timeline import Line, merged
from inkpunk_clip.prompts.tree import Break
from inkpunk_clip.prompts.words import LearnedWords
from inkpunk_clip.tokenizer import END, ROOM, START, Tokenizer

REACH = 20
"""How many tokens at most go on to the next chunk so that one ends with a comma."""

LARGE = 8
"""Tokens from which on ComfyUI divides a segment, rather than moving it to the next chunk."""


@dataclass(frozen=True)
class Chunk:
    """What the text encoder reads at a time: START, 75 tokens, filled up with END, and END; and their weights.

    These two are the first and the last.
    """

    tokens: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def text(self) -> tuple[tuple[int, float], ...]:
        """The tokens that are of text, with their weights."""
        end = self.tokens[-1]
        count = next(index for index in range(len(self.tokens), 0, -1) if self.tokens[index - 1] != end)
        return tuple(zip(self.tokens[1:count], self.weights[1:count], strict=True))

    @property
    def empty(self) -> "Chunk":
        """That of an empty prompt, in the same vocabulary."""
        return chunk([], self.tokens[0], self.tokens[-1])


Chunks: TypeAlias = tuple[Chunk, ...]
Unit: TypeAlias = tuple[tuple[int, ...], float]
"""Tokens that stay together, and their weight."""


def chunk(tokens: list[Unit], start: int = START, end: int = END) -> Chunk:
    """Make a chunk of at most 75 tokens."""
    ids = [token for unit, _ in tokens for token in unit]
    weights = [weight for unit, weight in tokens for _ in unit]
    filling = ROOM - len(ids)
    return Chunk((start, *ids, *[end] * filling, end), (1.0, *weights, *[1.0] * filling, 1.0))


EMPTY = chunk([])
"""That of an empty prompt, in CLIP's vocabulary."""


def chunks(
    line: Line, tokenizer: Tokenizer, words: LearnedWords | None = None, chunking: str = "commas"
) -> Chunks:
    """Divide a line into chunks, at least one.

    Args:
        line: text with weights, and breaks.
        tokenizer: CLIP's.
        words: learned ones.
        chunking: a name in `CHUNKINGS`.

    Raises:
        ValueError: if there is no such way of chunking.
    """
    if chunking not in CHUNKINGS:
        raise ValueError(f"chunks {chunking!r}: there is no such way; use {', '.join(CHUNKINGS)}")
    words = words or LearnedWords({}, tokenizer)
    divided = list(CHUNKINGS[chunking](line, tokenizer, words)) or [[]]
    return tuple(chunk(units, tokenizer.start, tokenizer.end) for units in divided)


def at_commas(line: Line, tokenizer: Tokenizer, words: LearnedWords) -> Iterator[list[Unit]]:
    """AUTOMATIC1111's way: of what does not fit, all after the last comma goes on, if that is near enough."""
    comma = next(iter(tokenizer.encode(",")), tokenizer.end)  # a vocabulary may have none
    full = list[Unit]()
    for each in merged(line):
        if isinstance(each, Break):
            yield full
            full = []
            continue
        for _, ids in words.units(tokenizer.encode(each.text)):
            if ids != (comma,) and _length(full) == ROOM and (kept := _to_last_comma(full, comma)):
                yield full[:kept]
                full = full[kept:]
            if _length(full) + len(ids) > ROOM:
                yield full
                full = []
            full.append((ids, each.weight))
    if full:
        yield full


def by_segments(line: Line, tokenizer: Tokenizer, words: LearnedWords) -> Iterator[list[Unit]]:
    """ComfyUI's way: a segment of one weight, or a learned word, is kept whole if it is short, and divided if not."""
    full = list[Unit]()
    for each in line:
        if isinstance(each, Break):
            yield full
            full = []
            continue
        units = words.units(tokenizer.encode(each.text))
        for name, group in groupby(units, key=lambda unit: unit[0]):
            apart = [ids for _, ids in group]
            segments = apart if name else [tuple(token for ids in apart for token in ids)]
            for segment in segments:
                ids = segment
                while _length(full) + len(ids) > ROOM:
                    taken = ROOM - _length(full) if len(ids) >= LARGE else 0
                    yield [*full, (ids[:taken], each.weight)]
                    full, ids = [], ids[taken:]
                full.append((ids, each.weight))
    if _length(full):
        yield full


def cut(line: Line, tokenizer: Tokenizer, words: LearnedWords) -> Iterator[list[Unit]]:
    """diffusers' way: the first 75 tokens, and no more; `Tokenizer.cut` tells what is left out."""
    tokens = [
        (token, each.weight)
        for each in merged(line)
        if not isinstance(each, Break)
        for _, unit in words.units(tokenizer.encode(each.text))
        for token in unit
    ]
    yield [((token,), weight) for token, weight in tokens[:ROOM]]


CHUNKINGS: Mapping[str, Callable[[Line, Tokenizer, LearnedWords], Iterator[list[Unit]]]] = {
    "commas": at_commas,
    "segments": by_segments,
    "cut": cut,
}
"""Ways to divide a long prompt, by name."""


def _length(units: list[Unit]) -> int:
    return sum(len(ids) for ids, _ in units)


def _to_last_comma(units: list[Unit], comma: int) -> int:
    """How many units there are up to the last comma, with it; 0 if it is too far back."""
    for index in range(len(units), 0, -1):
        after = _length(units[index:])
        if after >= REACH:
            return 0
        if units[index - 1][0] == (comma,):
            return index
    return 0
