"""Named tensors that stay in their file until they are asked for."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    _TensorMapping = Mapping[str, Tensor]
else:
    # Without its types: checkers at run time would read a tensor, perhaps gigabytes, to see that it is one.
    _TensorMapping = Mapping


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a tensor without reading it."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes these take when laid out densely."""
        return self.numel * self.dtype.itemsize


class LazyTensors(_TensorMapping):
    """A read-only mapping from names to tensors, each read when it is asked for and not kept afterwards.

    Iterating, `len`, `in` and `spec` read nothing; `[name]`, `values()` and `items()` read one tensor at a
    time.

    Args:
        specs: dtype and shape of every tensor, in the order of the file.
        read: returns the tensor of a name in `specs`; may raise `CheckpointError` when its bytes are damaged.
    """

    def __init__(self, specs: Mapping[str, Spec], read: Callable[[str], Tensor]) -> None:
        """Keep what is known of each tensor, and how to read it."""
        self._specs = specs
        self._read = read

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor; `KeyError` if there is none of this name."""
        if name not in self._specs:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the file."""
        return iter(self._specs)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of this name; reads nothing (Mapping's own would read it)."""
        return name in self._specs

    def spec(self, name: str) -> Spec:
        """Dtype and shape of one tensor, without touching its bytes; `KeyError` if there is none."""
        return self._specs[name]

    def __repr__(self) -> str:
        """Count and size; reads nothing."""
        return f"LazyTensors({len(self)} tensors, {sum(s.bytes for s in self._specs.values()):,} bytes)"
