"""A seed is a picture: noise that depends on an image's own seed and on nothing else."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SEEDS = 2**63
"""Seeds are 0 to SEEDS - 1."""


def seeded_noise(seeds: Sequence[int], shape: Sequence[int]) -> Iterator[Float[Tensor, "batch ..."]]:
    """Draw standard-normal noise for ever, [len(seeds), *shape] at a time, in float32 on the CPU.

    Each image has a generator of its own, so its k-th draw depends on its seed, `shape` and k alone: the same
    in any batch, in any order. Torch's global random state is neither read nor changed, and nothing is drawn
    before it is asked for. For another dtype or device, convert the draws: `(n.to("cuda") for n in
    seeded_noise(...))`.

    Args:
        seeds: one for each image, 0 to 2**63 - 1. Torch's CPU generator looks at a seed's lowest 32 bits, so
            seeds that differ by a multiple of 2**32 draw the same.
        shape: of one image's latents, such as (4, 64, 64).

    Raises:
        ValueError: for no seeds, a seed out of range, or a shape with a size below 1.
    """
    if not seeds:
        raise ValueError("no seeds: give one for each image")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise ValueError(f"seed {seed}: give 0 to {SEEDS - 1}")
    if any(size < 1 for size in shape):
        raise ValueError(f"noise of shape {list(shape)}: give sizes of at least 1")
    return _draws([torch.Generator("cpu").manual_seed(seed) for seed in seeds], tuple(shape))


def _draws(
    generators: Sequence[torch.Generator], shape: tuple[int, ...]
) -> Iterator[Float[Tensor, "batch ..."]]:
    while True:
        yield torch.stack(
            [torch.randn(shape, generator=own, dtype=torch.float32, device="cpu") for own in generators]
        )
