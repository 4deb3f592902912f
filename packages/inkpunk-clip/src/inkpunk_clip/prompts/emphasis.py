"""How weights act on what the text encoder makes of a chunk. It was trained with none, so there are several ways."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Encoded: TypeAlias = Float[Tensor, "texts tokens width"]
Weights: TypeAlias = Float[Tensor, "texts tokens"]
Empty: TypeAlias = Callable[[], Float[Tensor, "tokens width"]]
"""Gives what the text encoder makes of an empty chunk."""


def mean(encoded: Encoded, weights: Weights, empty: Empty) -> Encoded:
    """AUTOMATIC1111's "Original": times the weights, and then by one factor, so that the mean over all stays."""
    weighed = encoded * weights[..., None]
    before, after = encoded.mean(), weighed.mean()
    return weighed * (before / after) if after else weighed


def plain(encoded: Encoded, weights: Weights, empty: Empty) -> Encoded:
    """AUTOMATIC1111's "No norm": times the weights."""
    return encoded * weights[..., None]


def from_empty(encoded: Encoded, weights: Weights, empty: Empty) -> Encoded:
    """ComfyUI's: a weight stretches the way from an empty prompt's encoding to this one."""
    return torch.lerp(empty().expand_as(encoded), encoded, weights[..., None])


def ignore(encoded: Encoded, weights: Weights, empty: Empty) -> Encoded:
    """AUTOMATIC1111's "Ignore": weights change nothing."""
    return encoded


EMPHASES: Mapping[str, Callable[[Encoded, Weights, Empty], Encoded]] = {
    "mean": mean,
    "plain": plain,
    "from_empty": from_empty,
    "ignore": ignore,
}
"""Ways of emphasis by name; each takes and gives float32, and is not asked where all weights are 1."""
