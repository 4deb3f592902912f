"""What guidance would compute twice: until they first read their prompts, both halves of its batch are the same.

In Stable Diffusion that takes in the first self-attention, which is one of the five largest.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import cast

import torch
from inkpunk_unet import UNetEncoder
from inkpunk_unet.attention import SpatialTransformer
from inkpunk_unet.levels import DownLevel
from inkpunk_winograd import Inner, wrap
from jaxtyping import Float
from torch import Tensor, nn


def once_for_both(
    module: nn.Module, inner: Inner, *inputs: Float[Tensor, "batch ..."]
) -> Float[Tensor, "batch ..."]:
    """What a module gives, to rounding, computed once for both halves of a batch where they are equal.

    Of a module that treats each item of a batch by itself, and gives a tensor of its own. It asks the numbers
    themselves, which takes a hundredth of the pass.
    """
    batch = inputs[0].shape[0]
    if batch % 2 or not all(type(each) is Tensor and each.device.type == "cpu" for each in inputs):
        return inner(module, *inputs)
    halves = [torch.split(each, batch // 2) for each in inputs]
    if not all(torch.equal(first, second) for first, second in halves):
        return inner(module, *inputs)
    return torch.cat([inner(module, *(first for first, _ in halves))] * 2)


def share_guided_work(unet: UNetEncoder) -> None:
    """Have a UNet, or a ControlNet, do once what it would do twice for a guided batch."""
    for module in _before_the_first_prompt(unet):
        wrap(module, once_for_both)


def _before_the_first_prompt(unet: UNetEncoder) -> Iterator[nn.Module]:
    """The costly modules that the context does not reach."""
    for level in cast(Iterable[DownLevel], unet.down):
        transformers = cast(Iterable[SpatialTransformer], level.attentions)
        for block, transformer in zip_longest(level.resnets, transformers):
            yield block
            if transformer is not None:
                yield transformer.block.self_attention
                return
