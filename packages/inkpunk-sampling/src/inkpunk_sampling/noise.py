"""A seed is a picture: noise that depends on an image's own seed and on nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from .philox import philox_normal

SEEDS = 2**63
"""Seeds are 0 to SEEDS - 1."""
Shape: TypeAlias = tuple[int, ...]
Draws: TypeAlias = Iterator[Float[Tensor, "..."]]
Draw: TypeAlias = Callable[[float, float], Float[Tensor, "batch ..."]]
"""(sigma, lower) to standard-normal noise of the latents' shape, for the way from one to the other."""


def torch_draws(seed: int, shape: Shape) -> Draws:
    """Draw for ever from torch's CPU generator (a Mersenne twister)."""
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


def philox_draws(seed: int, shape: Shape) -> Draws:
    """Draw for ever what torch's CUDA generator draws, on any device: AUTOMATIC1111's "NV"."""
    offset = 0
    while True:
        yield philox_normal(seed, shape, offset)
        offset += 1


SOURCES: Mapping[str, Callable[[int, Shape], Draws]] = {"torch": torch_draws, "philox": philox_draws}
"""From a seed and a shape to endless standard-normal draws, each in float32 on the CPU."""


def seeded_noise(
    seeds: Sequence[int], shape: Sequence[int], source: str = "torch", step_seed: int = 0
) -> Iterator[Float[Tensor, "batch ..."]]:
    """Draw standard-normal noise for ever, [len(seeds), *shape] at a time, in float32 on the CPU.

    Each image has a generator of its own, so its k-th draw depends on its seed, `shape` and k alone: the same
    in any batch, in any order. Torch's global random state is neither read nor changed, and nothing is drawn
    before it is asked for. For another dtype or device, convert the draws: `(n.to("cuda") for n in
    seeded_noise(...))`.

    Args:
        seeds: one for each image, 0 to 2**63 - 1. Torch's CPU generator looks at a seed's lowest 32 bits, so
            seeds that differ by a multiple of 2**32 draw the same.
        shape: of one image's latents, such as (4, 64, 64).
        source: a name in `SOURCES`: "torch", or "philox" for the numbers that a CUDA device draws.
        step_seed: what other programs add to the seed for all draws after the first (AUTOMATIC1111's "eta noise seed
            delta"); those come from generators begun anew. At 0 the first ones go on.

    Raises:
        ValueError: for no seeds, a seed out of range, an unknown source, or a shape with a size below 1.
    """
    check_seeds(seeds, shape, source)
    return _together(seeds, tuple(shape), SOURCES[source], step_seed)


def check_seeds(seeds: Sequence[int], shape: Sequence[int], source: str) -> None:
    """Refuse what no noise can be drawn from; the errors are `seeded_noise`'s."""
    if not seeds:
        raise ValueError("no seeds: give one for each image")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise ValueError(f"seed {seed}: give 0 to {SEEDS - 1}")
    if any(size < 1 for size in shape):
        raise ValueError(f"noise of shape {list(shape)}: give sizes of at least 1")
    if source not in SOURCES:
        raise ValueError(f"unknown source of noise {source!r}: choose from {', '.join(SOURCES)}")


def _together(
    seeds: Sequence[int], shape: Shape, draws: Callable[[int, Shape], Draws], step_seed: int
) -> Iterator[Float[Tensor, "batch ..."]]:
    images = [draws(seed, shape) for seed in seeds]
    yield torch.stack([*map(next, images)])
    if step_seed:
        images = [draws((seed + step_seed) % SEEDS, shape) for seed in seeds]
    while True:
        yield torch.stack([*map(next, images)])
