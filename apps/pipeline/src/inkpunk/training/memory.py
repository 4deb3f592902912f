"""How much memory a training takes, known before it begins; and how it takes less."""

from collections.abc import Callable
from typing import Any, cast

from inkpunk_unet import UNet, UNetConfig
from inkpunk_unet.attention import SpatialTransformer
from inkpunk_unet.residual import ResidualBlock
from torch import Tensor
from torch.utils import checkpoint

from inkpunk.memory.estimate import FIXED, GIBI
from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.training.buckets import Size
from inkpunk.training.errors import TrainingError

# Feature maps that are held for the way back, in maps of the UNet's first width at the latents' size: of all layers
# and, where blocks are computed anew, of their inputs and one block's layers. Measured on SD v1.5 in float32, between
# 256x256 and 512x512: 355 and 51, and 9 more where convolutions learn, too.
MAPS = 370
MAPS_OF_BLOCKS = 55
COPIES = 4 * 4  # bytes of a number that is learned: itself, its gradient, and two that Adam keeps


def training_memory(
    unet: UNetConfig, learned: int, size: Size, batch: int, *, itemsize: int, recompute: bool
) -> int:
    """An estimate of the bytes that a training takes at its peak, on top of the networks' own weights.

    Args:
        unet: the shape of the network that learns.
        learned: how many numbers are.
        size: of the largest pictures, in pixels.
        batch: how many at once.
        itemsize: bytes of a number in between.
        recompute: whether layers inside blocks are computed anew on the way back.
    """
    pixels = size[0] // SIZE_MULTIPLE * (size[1] // SIZE_MULTIPLE)
    maps = MAPS_OF_BLOCKS if recompute else MAPS
    return FIXED + COPIES * learned + maps * unet.widths[0] * pixels * batch * itemsize


def refuse_training_that_does_not_fit(needed: int, free: int | None, size: Size, batch: int) -> None:
    """Let only a training pass that the memory there is can hold.

    Raises:
        TrainingError: with the estimate, and what to do.
    """
    if free is None or needed <= free:
        return
    ways = ["a smaller --size", *(["a smaller --batch"] if batch > 1 else [])]
    at_once = f", {batch} pictures at once" if batch > 1 else ""
    raise TrainingError(
        f"{size[0]} x {size[1]}{at_once}: takes about {needed / GIBI:.1f} GiB, and {free / GIBI:.1f} GiB are free; "
        f"try {' or '.join(ways)}"
    )


def recompute_blocks(unet: UNet) -> Callable[[], None]:
    """Have the UNet keep no more than its blocks' inputs for the way back, and compute the rest anew.

    Gradient checkpointing (Chen et al., arXiv 1604.06174): a third more time, a fraction of the memory, the same
    numbers. Returns what takes it off again.
    """
    blocks = [each for each in unet.modules() if isinstance(each, SpatialTransformer | ResidualBlock)]
    for block in blocks:
        cast(Any, block).forward = _recomputed(block.forward)

    def take_off() -> None:
        for block in blocks:
            del cast(Any, block).forward

    return take_off


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def recomputed(*inputs: Tensor) -> Tensor:
        # nothing is left to chance inside a block
        return cast(Any, checkpoint).checkpoint(
            forward, *inputs, use_reentrant=False, preserve_rng_state=False
        )

    return recomputed


def in_words(needed: int) -> str:
    """A number of bytes for people."""
    return f"{needed / GIBI:.1f} GiB" if needed >= GIBI else f"{needed / 2**20:.0f} MiB"
