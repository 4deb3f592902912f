"""Weights of 16 bits that each layer turns into float32 while it is at work."""

from typing import Any

from inkpunk_winograd import Inner, with_wide_weights, wrap
from torch import nn

from inkpunk.memory.allocator import give_back_freed_memory


def widen_layer_by_layer(network: nn.Module) -> None:
    """Have each layer compute with its own weights in float32, made for one pass and gone after it.

    Copies of every size come and go, and leave memory in pieces that fit the next less and less: over 25 steps of a
    UNet that was seen to cost more than a gigabyte. So the pieces are given back after each pass.
    """
    for layer in network.modules():
        if any(True for _ in layer.parameters(recurse=False)):
            wrap(layer, with_wide_weights)
    wrap(network, giving_back)


def giving_back(network: nn.Module, inner: Inner, *inputs: Any) -> Any:
    """What a network gives, and the memory that it freed meanwhile is the system's again."""
    try:
        return inner(network, *inputs)
    finally:
        give_back_freed_memory()
