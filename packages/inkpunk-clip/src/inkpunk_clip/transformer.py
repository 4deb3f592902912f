"""The transformer layer that both of CLIP's encoders are made of: that of texts and that of images.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020, section 2.4.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


class Layer(nn.Module):
    """Attention, then a feed-forward network, each on the normalised input and added to it (pre-LN)."""

    def __init__(
        self, width: int, heads: int, feed_forward: int, activation: Activation, *, causal: bool
    ) -> None:
        """Of `heads` heads, and `feed_forward` hidden units; `causal` if a position sees none after it."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, feed_forward, activation)

    def forward(self, x: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch positions width"]:
        """One layer further; the shape and the dtype stay."""
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class SelfAttention(nn.Module):
    """Multi-head attention in which a position sees all, or, if it is causal, itself and those before it."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch positions width"]:
        """What each position takes from those it sees."""
        query, key, value = (self._split(project(x)) for project in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(
        self, x: Float[Tensor, "batch positions width"]
    ) -> Float[Tensor, "batch heads positions head_width"]:
        batch, positions, width = x.shape
        return x.view(batch, positions, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "batch positions width"]) -> Float[Tensor, "batch positions width"]:
        """Each position by itself."""
        return self.fc2(self.activation(self.fc1(x)))


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Hendrycks and Gimpel's sigmoid approximation of GELU (https://arxiv.org/abs/1606.08415, section 2).

    OpenAI's CLIPs were trained with it, and with them Stable Diffusion v1's text encoder: the exact GELU would be
    wrong there.
    """
    return x * torch.sigmoid(1.702 * x)


def embedding(entries: int, width: int, std: float) -> nn.Embedding:
    """A table that starts with CLIP's own standard deviation.

    It is drawn uniformly: drawing normal numbers on the meta device would load torch's compiler, which takes
    seconds.
    """
    bound = std * math.sqrt(3)
    table = torch.empty(entries, width).uniform_(-bound, bound)
    return nn.Embedding.from_pretrained(table, freeze=False)  # pyright: ignore[reportUnknownMemberType]  # no stub
