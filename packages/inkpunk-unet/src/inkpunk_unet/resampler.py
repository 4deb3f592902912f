"""The resampler: a picture's many patches to the few tokens that say what is in it."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_unet.attention import attend

HEAD_WIDTH = 64
"""Channels of each head, in every published resampler."""


class Resampler(nn.Module):
    """Learned queries that read the patches, block after block, and come out as tokens of a context.

    Source: Alayrac et al., arXiv 2204.14198, section 2.1 (the perceiver resampler), as Ye et al.'s "plus" adapters
    have it.
    """

    def __init__(
        self, patch_width: int, context_width: int, tokens: int, *, width: int, blocks: int, heads: int
    ) -> None:
        """`tokens` queries of `width` channels that read patches of `patch_width`."""
        super().__init__()
        bound = (3 / width) ** 0.5  # a standard deviation of a width's inverse root
        self.queries = nn.Parameter(torch.empty(tokens, width).uniform_(-bound, bound))
        self.proj_in = nn.Linear(patch_width, width)
        self.blocks = nn.ModuleList(ResamplerBlock(width, heads) for _ in range(blocks))
        self.proj_out = nn.Linear(width, context_width)
        self.norm_out = nn.LayerNorm(context_width)

    def forward(
        self, patches: Float[Tensor, "batch patches patch_width"]
    ) -> Float[Tensor, "batch tokens context_width"]:
        """The tokens that stand for each picture; of any number of patches."""
        seen: Tensor = self.proj_in(patches)
        queries = self.queries.expand(len(patches), -1, -1)
        for block in cast(Iterable[ResamplerBlock], self.blocks):
            queries = block(queries, seen)
        return self.norm_out(self.proj_out(queries))


class ResamplerBlock(nn.Module):
    """Queries look at the patches and at each other, then each thinks by itself."""

    def __init__(self, width: int, heads: int) -> None:
        """Of `heads` heads, each `HEAD_WIDTH` channels wide, whatever `width` is."""
        super().__init__()
        self.heads = heads
        self.norm_patches = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * HEAD_WIDTH, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * HEAD_WIDTH, bias=False)
        self.out = nn.Linear(heads * HEAD_WIDTH, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, queries: Float[Tensor, "batch tokens width"], patches: Float[Tensor, "batch patches width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """The queries, one block further."""
        normed: Tensor = self.norm_queries(queries)
        read = torch.cat([self.norm_patches(patches), normed], dim=1)
        key, value = self.key_value(read).chunk(2, dim=-1)
        query, key, value = (
            each.unflatten(-1, (self.heads, HEAD_WIDTH)).transpose(1, 2)
            for each in (self.query(normed), key, value)
        )
        queries = queries + self.out(attend(query, key, value).transpose(1, 2).flatten(2))
        return queries + self.fc2(F.gelu(self.fc1(self.norm(queries))))
