"""Where networks wait while they have nothing to do, and how they come to where they compute."""

import copy
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import Any, Generic, TypeVar, cast

import torch
from inkpunk_weights import narrowed
from torch import Tensor, nn

from inkpunk.memory.allocator import give_back_freed_memory
from inkpunk.memory.narrow_weights import widen_layer_by_layer
from inkpunk.memory.pages import ReadOnce, let_go_of_pages

Module = TypeVar("Module", bound=nn.Module)

HALF = 2  # bytes


class Residence(Generic[Module]):
    """A module that waits on one device and computes on another, or in another precision.

    While it waits it keeps the very tensors it was loaded with, so going back is free: the computing copies are
    dropped, nothing is copied back. And it holds nothing that others could use, neither pages of a mapped file nor
    freed memory: three networks of such files take as much as the largest of them.
    """

    def __init__(
        self,
        module: Module,
        device: torch.device,
        offload: bool,
        halve: bool = False,
        *,
        narrow_matrices: bool = False,
    ) -> None:
        """Make a residence of a module that is on its waiting device.

        Args:
            module: the network.
            device: where it computes.
            offload: wait wherever `module` is now; without, it is on `device` already.
            halve: compute with weights of 16 bits, each layer's turned into float32 while the layer is at work.
                Implies `offload`.
            narrow_matrices: compute with the matrices of linear layers in bfloat16, and all else in float32; wait as
                `module` is now, in a mapped file say. Implies `offload`.
        """
        self._module = module
        self._compute = device
        self._offload = offload or halve or narrow_matrices
        self._halve, self._narrow_matrices = halve, narrow_matrices
        # reentrant: the garbage collector may end an abandoned run at any moment, in this thread too
        self._lock, self._guests = RLock(), 0
        self._waiting: Mapping[str, Tensor] = {}
        if halve:
            widen_layer_by_layer(module)

    @property
    def config(self) -> Any:
        """The module's own."""
        return self._module.config

    @cached_property
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

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> "Residence[Module]":
        """Another residence, of a copy of the network that has these tensors for its own, and shares all others.

        Without any, the same.

        Args:
            tensors: by the names of parameters, on the waiting device.
        """
        if not tensors:
            return self
        return self._of(self.copied(tensors))

    def changed(self, change: Callable[[Module], object]) -> "Residence[Module]":
        """Another residence, of a copy that shares all tensors, and that a change was made to.

        What the change adds to the copy waits where this network waits, and is ready to compute as this one is.
        """
        twin = self.copied({})
        change(twin)
        return self._of(twin)

    def copied(self, tensors: Mapping[str, Tensor]) -> Module:
        """A copy of the network, as it waits, that has these tensors for its own, and shares all others."""
        with self._lock:
            # while it is awake, the network's own are those that compute
            waiting = self._waiting if self._guests else self._module.state_dict()
            memo: dict[int, Any] = {
                id(parameter): nn.Parameter(tensors.get(name, waiting[name]), requires_grad=False)
                for name, parameter in self._module.named_parameters()
            }
            twin = copy.deepcopy(self._module, memo)
            if getattr(self._module, "_compiled_call_impl", None) is not None:
                cast(Any, twin).compile()  # which a copy leaves behind
        return twin

    def _of(self, twin: Module) -> "Residence[Module]":
        residence = Residence(twin, self._compute, self._offload, narrow_matrices=self._narrow_matrices)
        residence._halve = self._halve  # and is wrapped for it already
        return residence

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The network's own, as they wait."""
        with self._lock:
            return self._waiting if self._guests else dict(self._module.state_dict())

    @contextmanager
    def awake(self) -> Generator[Module]:
        """Yield the module with its weights on the computing device; of several users the last sends it to rest."""
        with self._lock:
            if not self._guests:
                self._wake()
            self._guests += 1
        try:
            yield self._module
        finally:
            with self._lock:
                self._guests -= 1
                if not self._guests:
                    self._rest()

    def _wake(self) -> None:
        self._waiting = dict(self._module.state_dict())
        if self._offload:
            self._module.load_state_dict(self._move(self._waiting), assign=True)

    def _rest(self) -> None:
        if self._offload:
            self._module.load_state_dict(self._waiting, assign=True)
        let_go_of_pages(self._waiting.values())
        give_back_freed_memory()  # what one network left in pieces is of little use to the next

    def _move(self, waiting: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors as they compute; what was read of a mapped file for that is let go of on the way."""
        moved: dict[str, Tensor] = {}
        read = ReadOnce()
        matrices = self._matrices()
        for name, tensor in waiting.items():
            dtype = tensor.dtype
            if self._narrow_matrices:
                dtype = torch.bfloat16 if name in matrices else torch.float32
            elif self._halve and tensor.itemsize != HALF:
                # 16 bits stay what they are: bfloat16 has no room in float16, and 8 bits nobody can add
                dtype = torch.float16
            moved[name] = narrowed(tensor, dtype, name, "at 16 bits, as low memory takes them").to(
                self._compute
            )
            if moved[name] is not tensor:
                read.add(tensor)
        read.let_go()
        return moved

    def _matrices(self) -> set[str]:
        """The names of the weights of linear layers, where these are narrowed."""
        if not self._narrow_matrices:
            return set()
        layers = cast(Iterable[tuple[str, nn.Module]], self._module.named_modules())
        return {f"{name}.weight" for name, layer in layers if type(layer) is nn.Linear}
