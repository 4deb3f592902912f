"""Textures that tile: every convolution reads on at the opposite edge, where it would read zeros beyond the picture.

A network of circular padding treats a picture as a torus: it has no edge, so none is seen where copies of the
picture meet. That is put on from outside, around any convolution, fast or not: the map gets a margin of what lies at
its other edge, the layer works with its own zeros around that, and of the result the margin, which alone saw them, is
cut off.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from inkpunk_vae.layers import Downsample
from inkpunk_winograd import Inner, wrap
from jaxtyping import Float
from torch import Tensor, nn

AXES = ("x", "y", "xy")
"""Which edges meet: left and right, top and bottom, or both."""


@dataclass(frozen=True, eq=False)
class Circular:
    """A layer that reads on at the opposite edge.

    Attributes:
        axes: one of `AXES`.
        margin: how many rows, or columns, of the other edge it is given: as far as it reads, and a multiple of...
        stride: ...so that the margin is whole rows of the result, too.
    """

    axes: str
    margin: int
    stride: int = 1

    @staticmethod
    def of(layer: nn.Module, axes: str) -> "Circular | None":
        """For one layer; None for those that read nothing beyond the edge."""
        if isinstance(layer, Downsample):  # whose zeros are not its convolution's
            return Circular(axes, margin=2, stride=2)
        if not isinstance(layer, nn.Conv2d) or layer.padding == (0, 0):
            return None
        stride, reach = layer.stride[0], max(int(side) for side in layer.padding)
        return Circular(axes, margin=-(-reach // stride) * stride, stride=stride)

    def __call__(
        self, layer: nn.Module, inner: Inner, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out out_height out_width"]:
        """What the layer gives of a map without edges."""
        down, across = (self.margin if axis in self.axes else 0 for axis in "yx")
        result: Tensor = inner(layer, with_margins(image, down, across))
        down, across = down // self.stride, across // self.stride
        height, width = result.shape[2:]
        part = result[:, :, down : height - down, across : width - across]
        return part.contiguous(
            memory_format=_order(result)
        )  # as layers give it: GroupNorm would copy it as well


def make_circular(network: nn.Module, axes: str) -> Callable[[], None]:
    """Have every convolution of a network read on at the opposite edge, and return what takes that off again.

    Attention and GroupNorm know no places, and need no change. A picture whose sides cannot be halved evenly down to
    the network's lowest level (Stable Diffusion's can be if they are multiples of 64 pixels) tiles as well, but its
    coarsest maps are a little out of step where the edges meet.

    Args:
        network: a UNet, a VAE, a ControlNet or a T2I-Adapter, with whatever makes it fast on it already.
        axes: one of `AXES`.
    """
    undos = list[Callable[[], None]]()
    for layer in network.modules():
        vars(layer).pop("_compiled_call_impl", None)  # what is compiled passes over changes
        if change := Circular.of(layer, axes):
            undos.append(wrap(layer, change))

    def undo() -> None:
        for each in undos:
            each()

    return undo


def with_margins(
    image: Float[Tensor, "batch channels height width"], down: int, across: int
) -> Float[Tensor, "batch channels outer_height outer_width"]:
    """A map, and around it so many rows and columns of its opposite edges; a small one comes round more than once."""
    batch, channels, height, width = image.shape
    outer = torch.empty(
        (batch, channels, height + 2 * down, width + 2 * across),
        dtype=image.dtype,
        device=image.device,
        memory_format=_order(image),
    )
    outer[:, :, down : down + height, across : across + width] = image
    inside = outer[:, :, down : down + height]
    for step in range(across):
        left, right = across - 1 - step, across + width + step
        inside[..., left] = inside[..., left + width]
        inside[..., right] = inside[..., right - width]
    for step in range(down):  # after the columns, so that the corners are filled as well
        top, bottom = down - 1 - step, down + height + step
        outer[:, :, top] = outer[:, :, top + height]
        outer[:, :, bottom] = outer[:, :, bottom - height]
    return outer


def _order(image: Tensor) -> torch.memory_format:
    last = image.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
