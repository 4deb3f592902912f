"""Chunks of prompts to encodings, each computed once."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from inkpunk_clip import LearnedWords, TextEncoder, Timeline
from jaxtyping import Float
from torch import Tensor

from inkpunk.memory.precision import finite
from inkpunk.memory.residence import Residence

CHUNKS = 64  # of prompts, whose encodings are kept, a quarter of a megabyte each
Encoded = dict[tuple[tuple[int, ...], int], Tensor]  # by a chunk's tokens, and the layers left out


class ChunkEncoder:
    """Gives the encoding of any chunk of tokens, [77, width], in the pipeline's precision."""

    def __init__(
        self,
        text_encoder: Residence[TextEncoder],
        words: LearnedWords | None,
        device: torch.device,
        dtype: torch.dtype,
        skip_layers: int,
        remembered: Encoded,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Make an encoder that leaves out the last `skip_layers`; others may share what is `remembered`.

        It works within `computing`, whoever asks: what is remembered was computed as any picture is.
        """
        self._text_encoder, self._words = text_encoder, words
        self._device, self._dtype, self._skip_layers = device, dtype, skip_layers
        self._remembered, self._computing = remembered, computing
        self._known = dict[tuple[int, ...], Tensor]()  # this one's own: what is remembered may be forgotten

    def __call__(self, tokens: tuple[int, ...]) -> Float[Tensor, "77 width"]:
        """The encoding of a chunk, computed unless it is known."""
        if tokens not in self._known:
            self._encode([tokens])
        return self._known[tokens]

    def prepare(self, timelines: Iterable[Timeline]) -> None:
        """Encode all chunks of the timelines in one go."""
        self._encode(
            [chunk.tokens for each in timelines for moment in each.moments for chunk in moment.chunks]
        )

    def _encode(self, chunks: Sequence[tuple[int, ...]]) -> None:
        found = {chunk: self._remembered.get((chunk, self._skip_layers)) for chunk in chunks}
        self._known |= {chunk: encoded for chunk, encoded in found.items() if encoded is not None}
        if fresh := [chunk for chunk, encoded in found.items() if encoded is None]:

            def work(network: TextEncoder, dtype: torch.dtype) -> Float[Tensor, "chunks 77 width"]:
                vectors = self._words.vectors.to(dtype) if self._words else None
                tokens = torch.tensor(fresh, device=self._device)
                # one by one, so that none rounds otherwise than alone
                encoded = [network(one, self._skip_layers, vectors) for one in torch.split(tokens, 1)]
                return torch.cat(encoded).to(self._dtype)

            with self._computing(), self._text_encoder.awake() as text_encoder, torch.no_grad():
                encoded = finite("text encoder", text_encoder, self._dtype, work)
            for chunk, one in zip(fresh, encoded, strict=True):
                # a copy, which the others' memory is not held by
                self._known[chunk] = self._remembered[chunk, self._skip_layers] = one.clone()
        for oldest in [*self._remembered][:-CHUNKS]:
            self._remembered.pop(oldest, None)
