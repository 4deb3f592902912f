"""What every module of a network takes and gives, seen from outside while it runs."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One run of one module.

    Attributes:
        name: the module's, within its network; "" is the network itself.
        kind: its class.
        takes, gives: the shapes of the tensors in and out.
        parameters: how many learned numbers it has, its parts' included.
        output: what came out, if it is one tensor.
    """

    name: str
    kind: str
    takes: tuple[tuple[int, ...], ...]
    gives: tuple[tuple[int, ...], ...]
    parameters: int
    output: Tensor | None = field(repr=False)


class Recording:
    """The calls since one last looked, in the order in which they ended."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def take(self) -> list[Call]:
        """The calls, which are then forgotten."""
        calls, self._calls = self._calls, []
        return calls

    def note(self, name: str, module: nn.Module, takes: Any, gives: Any) -> None:
        """Note a call, as a forward hook is told it."""
        self._calls.append(
            Call(
                name,
                type(module).__name__,
                _shapes(takes),
                _shapes(gives),
                sum(parameter.numel() for parameter in module.parameters()),
                gives if isinstance(gives, Tensor) else None,
            )
        )


@contextmanager
def recording(**networks: nn.Module) -> Generator[Recording]:
    """Record all modules of networks; each call's name begins with its network's."""
    record = Recording()
    handles = [
        module.register_forward_hook(partial(_told, record, f"{network}.{name}".rstrip(".")))
        for network, root in networks.items()
        for name, module in root.named_modules()
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def _told(record: Recording, name: str, module: nn.Module, takes: Any, gives: Any) -> None:
    record.note(name, module, takes, gives)


def _shapes(values: Any) -> tuple[tuple[int, ...], ...]:
    """Of all tensors in a nest of tuples and lists."""
    if isinstance(values, Tensor):
        return (tuple(values.shape),)
    if isinstance(values, list | tuple):
        return tuple(shape for value in values for shape in _shapes(value))
    return ()
