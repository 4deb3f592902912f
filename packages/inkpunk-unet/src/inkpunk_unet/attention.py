"""The transformer that lets every pixel look at every other, and at the prompt."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def attend(
    query: Float[Tensor, "batch heads tokens head_width"],
    key: Float[Tensor, "batch heads context_tokens head_width"],
    value: Float[Tensor, "batch heads context_tokens head_width"],
) -> Float[Tensor, "batch heads tokens head_width"]:
    """`softmax(query key^T / sqrt(head_width)) value`, head by head.

    Source: Vaswani et al., arXiv 1706.03762, equation 1.
    """
    return F.scaled_dot_product_attention(query, key, value)


class Attention(nn.Module):
    """Multi-head attention of tokens to a context: to themselves, or to the prompt."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        """`heads` heads of `width / heads` channels; keys and values come from `context_width` channels."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context_width, width, bias=False)
        self.value = nn.Linear(context_width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch context_tokens context_width"],
    ) -> Float[Tensor, "batch tokens width"]:
        """What each token takes from the context."""
        query = self._split_heads(self.query(tokens))
        key = self._split_heads(self.key(context))
        value = self._split_heads(self.value(context))
        return self.out(self._join_heads(attend(query, key, value)))

    def _split_heads(
        self, tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch heads tokens head_width"]:
        batch, count, width = tokens.shape
        return tokens.view(batch, count, self.heads, width // self.heads).transpose(1, 2)

    def _join_heads(
        self, heads: Float[Tensor, "batch heads tokens head_width"]
    ) -> Float[Tensor, "batch tokens width"]:
        return heads.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """A gated perceptron: one half of the hidden units opens and shuts the other.

    Source: Shazeer, arXiv 2002.05202, equation 6 (GEGLU, with the exact GELU).
    """

    def __init__(self, width: int) -> None:
        """Four times as many hidden units as `width`, and as many gates."""
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Each token by itself."""
        value, gate = self.fc1(tokens).chunk(2, dim=-1)
        return self.fc2(value * F.gelu(gate))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward: each normalised before and added to what came in."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        """Tokens of `width` channels that read a context of `context_width`."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, context_width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch context_tokens context_width"],
    ) -> Float[Tensor, "batch tokens width"]:
        """Tokens, having looked at each other and at the context."""
        normed: Tensor = self.norm1(tokens)
        tokens = tokens + self.self_attention(normed, normed)
        tokens = tokens + self.cross_attention(self.norm2(tokens), context)
        return tokens + self.feed_forward(self.norm3(tokens))


class SpatialTransformer(nn.Module):
    """A transformer block whose tokens are an image's pixels.

    Source: Rombach et al., arXiv 2112.10752, section 3.3 and appendix E.2.1.
    """

    def __init__(self, width: int, context_width: int, heads: int, groups: int) -> None:
        """An image of `width` channels that reads a context of `context_width`."""
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, kernel_size=1)
        self.block = TransformerBlock(width, context_width, heads)
        self.proj_out = nn.Conv2d(width, width, kernel_size=1)

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        context: Float[Tensor, "batch context_tokens context_width"],
    ) -> Float[Tensor, "batch channels height width"]:
        """The image, having looked at itself and at the context."""
        hidden: Tensor = self.proj_in(self.norm(image))
        tokens: Tensor = self.block(hidden.flatten(2).transpose(1, 2), context)
        return image + self.proj_out(tokens.transpose(1, 2).unflatten(2, image.shape[2:]))
