"""Any torch model's 3x3 convolutions, made cheaper in place and given back as they were."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from inkpunk_winograd.convolution import MEMORY, winograd_conv2d
from inkpunk_winograd.cost import NATIVE, TORCH, cheapest_tile
from inkpunk_winograd.native import has_native

Module = TypeVar("Module", bound=nn.Module)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that takes the cheapest of the direct way, F(2x2) and F(4x4) for each input.

    `accelerate` makes them of modules that exist. The direct way is also taken where minimal filtering has nothing
    to offer: for gradients, under autocast, while torch.compile traces, and off the CPU.

    Attributes:
        memory: bytes that transforms may take while they are used.
        native: use the kernels in C where they can be had.
    """

    memory: int = MEMORY
    native: bool = True

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Conv2d` does, but for rounding."""
        tile = self._tile(input)
        if tile is None:
            return super().forward(input)
        batched = input if input.ndim == 4 else input[None]
        result = winograd_conv2d(
            batched, self.weight, self.bias, tile=tile, memory=self.memory, native=self.native
        )
        return result if input.ndim == 4 else result[0]

    def _tile(self, input: Tensor) -> int | None:
        wants_gradients = torch.is_grad_enabled() and (
            input.requires_grad
            or any(parameter.requires_grad for parameter in self.parameters(recurse=False))
        )
        if (
            wants_gradients
            or type(input) not in (Tensor, nn.Parameter)  # fake tensors, for one
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
        sizes = (batch, self.in_channels, self.out_channels, height, width)
        return cheapest_tile(*sizes, NATIVE if self.native and has_native(input.dtype) else TORCH)


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


def accelerate(module: Module, *, memory: int = MEMORY, native: bool = True) -> Module:
    """Make a model's eligible convolutions cheaper, in place; the others stay as they are.

    Parameters, their names, hooks and everything that refers to the modules stay the same: only the class of each
    changes, and `restore` changes it back. Safe to call twice, and to run from many threads once it is done.

    Args:
        module: any model, or a convolution alone.
        memory: bytes that transforms may take while one convolution runs; less is slower where many channels meet
            many pixels. Each thread that runs convolutions natively keeps as much to work in; no transformed kernel
            is kept.
        native: use the kernels in C, where a C compiler on this machine can build them: once, in half a second.

    Returns:
        The same module.
    """
    for part in module.modules():
        if is_eligible(part):
            object.__setattr__(part, "__class__", WinogradConv2d)
        if isinstance(part, WinogradConv2d):
            part.memory, part.native = memory, native
    return module


def restore(module: Module) -> Module:
    """Undo `accelerate`, in place, and return the same module."""
    for part in module.modules():
        if isinstance(part, WinogradConv2d):
            for setting in ("memory", "native"):
                part.__dict__.pop(setting, None)
            object.__setattr__(part, "__class__", nn.Conv2d)
    return module
