"""Chunks to context: what steers the UNet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import lcm
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_clip.prompts.chunks import EMPTY, Chunk, Chunks, chunks
from inkpunk_clip.prompts.emphasis import EMPHASES
from inkpunk_clip.prompts.grammar import parse
from inkpunk_clip.prompts.language import Language
from inkpunk_clip.prompts.timeline import Line, timeline
from inkpunk_clip.prompts.words import LearnedWords
from inkpunk_clip.text_encoder import TextEncoder
from inkpunk_clip.tokenizer import POSITIONS, Tokenizer

EncodeChunk: TypeAlias = Callable[[tuple[int, ...]], Float[Tensor, "77 width"]]
"""The tokens of a chunk to what the text encoder makes of them. It may remember them."""
Context: TypeAlias = Float[Tensor, "_ width"]
"""Of one prompt: 77 tokens for each of its chunks."""


@dataclass(frozen=True)
class Moment:
    """What a prompt says from a step on: its text, and the chunks that this becomes.

    Where texts are weighed together, there are moments of steps that do not come, too.
    """

    step: int
    line: Line
    chunks: Chunks


@dataclass(frozen=True)
class Timeline:
    """One part of a prompt through all steps.

    Attributes:
        weight: how much of its guidance is taken; 1 but where `AND` composes.
        moments: in the order of their steps; the first is at step 0.
    """

    weight: float
    moments: tuple[Moment, ...]

    def at(self, step: int) -> int:
        """The number of the moment that a step is in."""
        return max(index for index, moment in enumerate(self.moments) if moment.step <= step)


def understand(
    text: str,
    steps: int,
    tokenizer: Tokenizer,
    words: LearnedWords | None = None,
    language: Language = Language(),  # noqa: B008  # frozen
    *,
    composed: bool = True,
) -> tuple[Timeline, ...]:
    """Read a prompt: which chunks its text becomes, at which step, in each of its parts.

    Args:
        text: any.
        steps: of the drawing.
        tokenizer: CLIP's.
        words: learned ones.
        language: how the program reads prompts.
        composed: whether `AND` composes; in a negative prompt it is text.
    """
    return tuple(
        Timeline(
            part.weight,
            tuple(
                Moment(step, line, chunks(line, tokenizer, words, language.chunking))
                for step, line in timeline(part.content, steps, language.late, every=language.together)
            ),
        )
        for part in parse(text, language.grammar, composed=composed).parts
    )


def chunk_encoder(
    encoder: TextEncoder, skip_layers: int = 0, words: LearnedWords | None = None
) -> EncodeChunk:
    """Encode chunk by chunk, each by itself, so that no other changes a bit of it, and each once.

    Args:
        encoder, skip_layers: see `TextEncoder`.
        words: the learned ones that the chunks may hold.
    """

    @cache
    def encode(tokens: tuple[int, ...]) -> Float[Tensor, "77 width"]:
        device = encoder.token_embedding.weight.device
        batch = torch.tensor([tokens], dtype=torch.int64, device=device)
        return encoder(batch, skip_layers, words.vectors if words else None)[0]

    return encode


def contexts(
    timeline: Timeline,
    encode: EncodeChunk,
    language: Language = Language(),  # noqa: B008
) -> tuple[Context, ...]:
    """The context of each moment: of its chunks one after the other, in the dtype that `encode` gives.

    Moments of the same text have the very same tensor.
    """
    texts = [moment.chunks for moment in timeline.moments]
    if language.together:
        longest = max(map(len, texts))
        padded = [(*text, *[text[0].empty] * (longest - len(text))) for text in texts]
        known = dict(zip(texts, _weighed(padded, encode, language.emphasis), strict=True))
    else:
        known = {text: _weighed([text], encode, language.emphasis)[0] for text in dict.fromkeys(texts)}
    return tuple(known[text] for text in texts)


def _weighed(
    texts: Sequence[Chunks], encode: EncodeChunk, emphasis: str
) -> Float[Tensor, "texts tokens width"]:
    """Texts of as many chunks each."""
    weighed = list[Tensor]()
    for column in zip(*texts, strict=True):  # the first chunk of each text, then the second
        encoded = torch.stack([encode(chunk.tokens) for chunk in column])
        if any(weight != 1 for chunk in column for weight in chunk.weights):
            weights = torch.tensor(
                [chunk.weights for chunk in column], dtype=torch.float32, device=encoded.device
            )
            weigh = EMPHASES[emphasis]
            empty = column[0].empty.tokens
            encoded = weigh(encoded.float(), weights, partial(_encoded, encode, empty)).to(encoded.dtype)
        weighed.append(encoded)
    return torch.cat(weighed, dim=1)


def _encoded(encode: EncodeChunk, tokens: tuple[int, ...]) -> Float[Tensor, "77 width"]:
    return encode(tokens).float()


def side_by_side(
    contexts: Sequence[Context], encode: EncodeChunk, padding: str = "repeat", empty: Chunk = EMPTY
) -> Float[Tensor, "prompts tokens width"]:
    """Contexts as one batch, the shorter made as long as the longest: see `Language.padding`.

    Some are filled up with `empty`; of a tokenizer that is not CLIP's, give its own.
    """
    if padding == "repeat":
        common = lcm(*map(len, contexts))
        return torch.stack([context.repeat(common // len(context), 1) for context in contexts])
    longest = max(map(len, contexts))
    missing = [(longest - len(context)) // POSITIONS for context in contexts]
    filling = [encode(empty.tokens)] if any(missing) else []
    filled = [torch.cat([each, *filling * count]) for each, count in zip(contexts, missing, strict=True)]
    return torch.stack(filled)


def context_at(
    text: str,
    step: int,
    steps: int,
    tokenizer: Tokenizer,
    encoder: TextEncoder,
    *,
    words: LearnedWords | None = None,
    skip_layers: int = 0,
    language: Language = Language(),  # noqa: B008
    composed: bool = True,
) -> Float[Tensor, "parts tokens width"]:
    """The context of a prompt at a step, one row for each of the parts that `AND` composes.

    Everything in one call, for a look or a small program; whoever asks at many steps does better to `understand` once
    and to keep the `contexts`.

    Args:
        text: the prompt.
        step: counted from 0.
        steps: of the drawing.
        tokenizer, encoder, skip_layers: as they are used without a language.
        words, language, composed: as for `understand`.
    """
    encode = chunk_encoder(encoder, skip_layers, words)
    parts = understand(text, steps, tokenizer, words, language, composed=composed)
    rows = [contexts(part, encode, language)[part.at(step)] for part in parts]
    empty = parts[0].moments[0].chunks[0].empty
    return side_by_side(rows, encode, language.padding, empty)
