"""Where models compute, in which precision, and where they wait meanwhile."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from inkpunk.memory import let_go_of_pages
from inkpunk.speed.allocator import give_back_freed_memory


class DeviceError(ValueError):
    """A device or precision that is not to be had; the message says what to use instead."""


Module = TypeVar("Module", bound=nn.Module)

DEVICES = ("auto", "cuda", "mps", "cpu")
HALF = 2  # bytes
READ_AT_ONCE = 256 << 20  # bytes of a mapped file that are in memory beside what is made of them
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
    """A module that waits on one device and computes on another, or in another precision.

    While it waits it keeps the very tensors it was loaded with, so going back is free: the computing copies are
    dropped, nothing is copied back. And it holds nothing that others could use, neither pages of a mapped file nor
    freed memory: three networks of such files take as much as the largest of them.
    """

    def __init__(self, module: Module, device: torch.device, offload: bool, halve: bool = False) -> None:
        """Make a residence of a module that is on its waiting device.

        Args:
            module: the network.
            device: where it computes.
            offload: wait wherever `module` is now; without, it is on `device` already.
            halve: compute with weights of 16 bits, each layer's turned into float32 while the layer is at work.
                Implies `offload`.
        """
        self._module = module
        self._compute = device
        self._offload = offload or halve
        self._halve = halve
        if halve:
            _widen_layer_by_layer(module)

    @property
    def config(self) -> Any:
        """The module's own."""
        return self._module.config

    @property
    def parameters(self) -> int:
        """How many learned numbers the module has."""
        return sum(parameter.numel() for parameter in self._module.parameters())

    @property
    def device(self) -> torch.device:
        """Where the module is at the moment."""
        return next(self._module.parameters()).device

    @property
    def bytes_to_move(self) -> int:
        """What waking it up takes on the computing device, at most."""
        weights = self._module.parameters() if self._offload else ()
        return sum(weight.numel() * (HALF if self._halve else weight.itemsize) for weight in weights)

    @contextmanager
    def awake(self) -> Generator[Module]:
        """Yield the module with its weights on the computing device."""
        waiting = dict(self._module.state_dict())
        try:
            if self._offload:
                self._module.load_state_dict(self._move(waiting), assign=True)
            yield self._module
        finally:
            if self._offload:
                self._module.load_state_dict(waiting, assign=True)
            let_go_of_pages(waiting.values())
            give_back_freed_memory()  # what one network left in pieces is of little use to the next

    def _move(self, waiting: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors as they compute; what was read of a mapped file for that is let go of on the way."""
        moved: dict[str, Tensor] = {}
        read: list[Tensor] = []
        for name, tensor in waiting.items():
            # what has 16 bits already stays what it is: bfloat16 has no room in float16
            dtype = torch.float16 if self._halve and tensor.itemsize > HALF else tensor.dtype
            moved[name] = tensor.to(self._compute, dtype)
            if moved[name] is not tensor:
                read.append(tensor)
            if sum(each.numel() * each.itemsize for each in read) > READ_AT_ONCE:
                let_go_of_pages(read)
                read.clear()
        let_go_of_pages(read)
        return moved


def _widen_layer_by_layer(network: nn.Module) -> None:
    """Have each layer's own weights be float32 while it computes, and what they were before and after.

    Copies of every size come and go, and leave memory in pieces that fit the next less and less: over 25 steps of a
    UNet that was seen to cost more than a gigabyte. So the pieces are given back after each pass.
    """
    for layer in network.modules():
        if any(True for _ in layer.parameters(recurse=False)) and not any(True for _ in layer.children()):
            layer.register_forward_pre_hook(_widen)
            layer.register_forward_hook(_narrow, always_call=True)
    network.register_forward_hook(_give_back)


def _widen(layer: nn.Module, inputs: object) -> None:
    kept = dict(layer.named_parameters(recurse=False))
    vars(layer)["kept"] = kept
    for name, parameter in kept.items():
        setattr(layer, name, nn.Parameter(parameter.float(), requires_grad=False))


def _narrow(layer: nn.Module, inputs: object, output: object) -> None:
    for name, parameter in vars(layer).pop("kept").items():
        setattr(layer, name, parameter)


def _give_back(network: nn.Module, inputs: object, output: object) -> None:
    give_back_freed_memory()
