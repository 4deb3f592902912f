"""CLIP's text encoder: a causal transformer over the tokens of a prompt.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020, section 2.4. Stable Diffusion v1 conditions on every position of its output.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from inkpunk_clip.config import TextEncoderConfig
from inkpunk_clip.transformer import Layer, embedding, quick_gelu


class TextEncoder(nn.Module):
    """Token ids to context: one vector a token, which sees the tokens up to its own.

    Its parameters are all of its state: it can be built on the meta device and filled by
    `load_state_dict(..., assign=True)`.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = embedding(config.vocabulary, config.width, std=0.02)
        self.position_embedding = embedding(config.positions, config.width, std=0.01)
        self.layers = nn.ModuleList(
            Layer(config.width, config.heads, config.feed_forward, quick_gelu, causal=True)
            for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(config.width)

    if TYPE_CHECKING:

        def __call__(
            self,
            tokens: Int[Tensor, "batch positions"],
            skip_layers: int = 0,
            learned: Float[Tensor, "vectors width"] | None = None,
        ) -> Float[Tensor, "batch positions width"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(
        self,
        tokens: Int[Tensor, "batch positions"],
        skip_layers: int = 0,
        learned: Float[Tensor, "vectors width"] | None = None,
    ) -> Float[Tensor, "batch positions width"]:
        """The context of each token, in the parameters' dtype, after the final layer norm.

        `skip_layers` leaves out that many of the last layers; the final norm still applies. Stable Diffusion
        v1 was trained with none left out; "CLIP skip 2", as some fine-tunes ask for, leaves out one.

        `learned` are vectors of learned words, of any dtype: ids from the vocabulary's size on are theirs.

        Raises ValueError if there are more tokens than positions, or skip_layers is not in [0, layers).
        """
        length = tokens.shape[1]
        if length > self.config.positions:
            raise ValueError(
                f"the text encoder has {self.config.positions} positions, and {length} tokens were given: "
                f"cut them to {self.config.positions}, or encode them in parts"
            )
        if not 0 <= skip_layers < self.config.layers:
            raise ValueError(
                f"skip_layers must be from 0 to {self.config.layers - 1}, as the text encoder has "
                f"{self.config.layers} layers; it is {skip_layers}"
            )
        x = self._embedded(tokens, learned) + self.position_embedding.weight[:length]
        layers = cast(Iterable[Layer], self.layers[: self.config.layers - skip_layers])
        for layer in layers:
            x = layer(x)
        return self.final_norm(x)

    def _embedded(
        self, tokens: Int[Tensor, "batch positions"], learned: Float[Tensor, "vectors width"] | None
    ) -> Float[Tensor, "batch positions width"]:
        if learned is None or not len(learned):
            return self.token_embedding(tokens)
        first = self.config.vocabulary
        embedded = self.token_embedding(tokens.clamp(max=first - 1))
        theirs = learned.to(embedded)[(tokens - first).clamp(min=0)]
        return torch.where((tokens >= first)[..., None], theirs, embedded)
