"""Any torch model's 3x3 convolutions, made cheaper in place and given back as they were."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from inkpunk_winograd.convolution import MEMORY, winograd_conv2d
from inkpunk_winograd.cost import cheapest_tile

Module = TypeVar("Module", bound=nn.Module)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that takes the cheapest of the direct way, F(2x2) and F(4x4) for each input.

    `accelerate` makes them of modules that exist. The direct way is also taken where minimal filtering has nothing
    to offer: for gradients, under autocast, while torch.compile traces, and off the CPU.

    Attributes:
        memory: bytes that transformed kernels may take while they are used.
    """

    memory: int = MEMORY

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Conv2d` does, but for rounding."""
        tile = self._tile(input)
        if tile is None:
            return super().forward(input)
        batched = input if input.ndim == 4 else input[None]
        result = winograd_conv2d(batched, self.weight, self.bias, tile=tile, memory=self.memory)
        return result if input.ndim == 4 else result[0]

    def _tile(self, input: Tensor) -> int | None:
        wants_gradients = torch.is_grad_enabled() and (
            input.requires_grad
            or any(parameter.requires_grad for parameter in self.parameters(recurse=False))
        )
        if (
            wants_gradients
            or input.device.type != "cpu"
            or torch.is_autocast_enabled("cpu")
            or torch.compiler.is_compiling()
            or input.ndim not in (3, 4)
            or input.shape[-3] != self.in_channels
            or input.dtype != self.weight.dtype
            or input.numel() == 0
        ):
            return None  # what is wrong with the input, if anything is, the direct way says best
        height, width = input.shape[-2:]
        batch = input.shape[0] if input.ndim == 4 else 1
        return cheapest_tile(batch, self.in_channels, self.out_channels, height, width)


def is_eligible(module: nn.Module) -> bool:
    """Whether a module is a plain 3x3 convolution of stride 1 with a border of zeros, undilated and ungrouped."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.padding in ((1, 1), "same")
        and module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
    )


def accelerate(module: Module, *, memory: int = MEMORY) -> Module:
    """Make a model's eligible convolutions cheaper, in place; the others stay as they are.

    Parameters, their names, hooks and everything that refers to the modules stay the same: only the class of each
    changes, and `restore` changes it back. Safe to call twice, and to run from many threads once it is done.

    Args:
        module: any model, or a convolution alone.
        memory: bytes that transformed kernels may take while one convolution runs; less is slower where many
            channels meet many pixels. Nothing is kept between calls.

    Returns:
        The same module.
    """
    for part in module.modules():
        if is_eligible(part):
            object.__setattr__(part, "__class__", WinogradConv2d)
        if isinstance(part, WinogradConv2d):
            part.memory = memory
    return module


def restore(module: Module) -> Module:
    """Undo `accelerate`, in place, and return the same module."""
    for part in module.modules():
        if isinstance(part, WinogradConv2d):
            part.__dict__.pop("memory", None)
            object.__setattr__(part, "__class__", nn.Conv2d)
    return module
