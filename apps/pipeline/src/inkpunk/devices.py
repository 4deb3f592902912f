"""Where models compute, in which precision, and where they wait meanwhile."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import nn


class DeviceError(ValueError):
    """A device or precision that is not to be had; the message says what to use instead."""


Module = TypeVar("Module", bound=nn.Module)

DEVICES = ("auto", "cuda", "mps", "cpu")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto" into the fastest device this machine has; check that a named one is there.

    Raises:
        DeviceError: for a device that torch does not know or this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, here in available.items() if here), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r}: not a device; use one of {', '.join(DEVICES)}") from error
    if not available.get(device.type, True):
        raise DeviceError(f"device {name!r}: torch finds none on this machine; use --device cpu")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto" into half precision on an accelerator and float32 on a CPU, which has no fast half.

    Raises:
        DeviceError: for a name other than auto, float32, float16 and bfloat16.
    """
    if name == "auto":
        return torch.float16 if device.type in ("cuda", "mps") else torch.float32
    if name not in DTYPES:
        raise DeviceError(f"dtype {name!r}: use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


class Residence(Generic[Module]):
    """A module that waits on one device and computes on another.

    While it waits it keeps the very tensors it was loaded with (for a memory-mapped file, pages that cost nothing
    until they are read), so going back is free: the device's copies are dropped, nothing is copied back.
    """

    def __init__(self, module: Module, device: torch.device, offload: bool) -> None:
        """Compute on `device`: with `offload`, wait wherever `module` is now; without, it is there already."""
        self._module = module
        self._compute = device
        self._offload = offload

    @property
    def parameters(self) -> int:
        """How many learned numbers the module has."""
        return sum(parameter.numel() for parameter in self._module.parameters())

    @property
    def device(self) -> torch.device:
        """Where the module is at the moment."""
        return next(self._module.parameters()).device

    @contextmanager
    def awake(self) -> Generator[Module]:
        """Yield the module with its weights on the computing device."""
        if not self._offload:
            yield self._module
            return
        waiting = dict(self._module.state_dict())
        moved = {name: tensor.to(self._compute) for name, tensor in waiting.items()}
        self._module.load_state_dict(moved, assign=True)
        try:
            yield self._module
        finally:
            self._module.load_state_dict(waiting, assign=True)
