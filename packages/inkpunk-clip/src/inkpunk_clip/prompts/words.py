"""Words that were learned: each is a few vectors in the place of tokens.

Gal et al. 2022, "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion",
https://arxiv.org/abs/2208.01618.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_clip.tokenizer import ROOM, Tokenizer

PREFIX = "embedding:"
"""How ComfyUI writes a learned word: embedding:name. It is understood everywhere."""


class LearnedWords:
    """Vectors by the names that prompts call them by.

    A name is found by its tokens, as AUTOMATIC1111 does: in upper or lower case, and with or without blanks inside;
    where several begin at a token, the longest. Each vector is a token of its own, with an id from `first` on.

    Attributes:
        names: those there are.
        vectors: of all words, one after the other; `TextEncoder` takes them as `learned`.
        first: the id of the first, the size of the encoder's vocabulary.
    """

    def __init__(
        self,
        words: Mapping[str, Float[Tensor, "vectors width"]],
        tokenizer: Tokenizer,
        first: int = 49408,
    ) -> None:
        """Give each of the words its ids.

        Raises:
            ValueError: for words of different widths, and for one of more vectors than a chunk has room for.
        """
        self.names = tuple(words)
        self.first = first
        self._found = dict[int, list[tuple[list[int], str, tuple[int, ...]]]]()
        for name, vectors in words.items():
            count, width = vectors.shape
            if not 1 <= count <= ROOM:
                raise ValueError(f"learned word {name!r}: {count} vectors; it may have 1 to {ROOM}")
            if width != (expected := next(iter(words.values())).shape[1]):
                raise ValueError(f"learned word {name!r}: its vectors are {width} wide, others {expected}")
            ids = tuple(range(first, first + count))
            first += count
            for written in (name, PREFIX + name):
                if tokens := tokenizer.encode(written):
                    self._found.setdefault(tokens[0], []).append((tokens, name, ids))
        for found in self._found.values():
            found.sort(key=lambda each: len(each[0]), reverse=True)
        self.vectors = torch.cat([*words.values()]) if words else torch.empty(0, 0)

    def units(self, tokens: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Divide tokens into what belongs together: a learned word's name and ids, or "" and a single token's."""
        place = 0
        while place < len(tokens):
            for written, name, ids in self._found.get(tokens[place], ()):
                if tokens[place : place + len(written)] == written:
                    yield name, ids
                    place += len(written)
                    break
            else:
                yield "", (tokens[place],)
                place += 1

    def name_of(self, token: int) -> str:
        """The name that a vector's id belongs to; "" for the ids of the vocabulary."""
        return next(
            (name for found in self._found.values() for _, name, ids in found if token in ids),
            "",
        )
