"""Pictures of a batch: together where that is faster, each by itself where that costs nothing.

Sums round otherwise in another batch. In float32 that is at most one level of a picture's 255, in bfloat16 it can be
another picture; one that is drawn by itself has the same bits in any batch.
"""

from collections.abc import Sequence

import torch
from inkpunk_sampling import Step

# From here on a CPU is as fast with one picture as with many: `tools.benchmark_batch`. A small one's pass is short,
# and what a pass costs at any size is shared by all pictures of a batch.
LARGE = 512 * 512


def draws_alone(
    device: torch.device, dtype: torch.dtype, pixels: int, *, deterministic: bool = False
) -> bool:
    """Whether each picture of so many pixels is drawn by itself: on a CPU, where it is large or not in float32.

    Where it is to be deterministic, anywhere.
    """
    return deterministic or (device.type == "cpu" and (pixels >= LARGE or dtype is not torch.float32))


def together(steps: Sequence[Step]) -> Step:
    """One step of many pictures, of one step of each."""
    first = steps[0]
    if len(steps) == 1:
        return first
    latents, denoised = (
        torch.cat([getattr(step, name) for step in steps]) for name in ("latents", "denoised")
    )
    return Step(first.index, first.total, first.timestep, latents, denoised)
