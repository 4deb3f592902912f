"""Sees through what training wraps around modules, which is left in the names of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from inkpunk_weights.averages import EMA
from inkpunk_weights.lazy import LazyTensors

WRAPPERS = (
    "_orig_mod",  # torch.compile
    "module",  # DataParallel, DistributedDataParallel, DeepSpeed, AveragedModel
    "_forward_module",  # Lightning's Fabric
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",  # activation checkpointing
)


@dataclass(frozen=True)
class Unwrapped:
    """The tensors of a file by their names without wrappers.

    Args:
        tensors: by those names.
        in_file: for each of them its names in the file; of several, the first is used.
        stored: the same tensors by their names in the file.
    """

    tensors: LazyTensors
    in_file: Mapping[str, tuple[str, ...]]
    stored: LazyTensors

    def prefix(self, name: str, rest: str) -> str:
        """What the file has before `rest`, with which the tensor `name` ends; its wrappers are among it."""
        first = self.in_file[name][0]
        return (first if first.endswith(rest) else name).removesuffix(rest)


def unwrap(tensors: LazyTensors) -> Unwrapped:
    """Take the wrappers out of the names of a file's tensors, wherever they stand; reads none."""
    names: dict[str, tuple[str, ...]] = {}
    for name in tensors:
        bare = without_wrappers(name)
        names[bare] = (*names.get(bare, ()), name)

    def read(bare: str) -> Tensor:
        return tensors[names[bare][0]]

    specs = {bare: tensors.spec(first) for bare, (first, *_) in names.items()}
    return Unwrapped(LazyTensors(specs, read), names, tensors)


def without_wrappers(name: str) -> str:
    """A tensor's name as it was before its module, or one around it, was wrapped."""
    bare = ".".join(part for part in name.split(".") if part not in WRAPPERS) or name
    if bare.startswith(EMA):  # an average's name has lost its dots
        for wrapper in WRAPPERS:
            bare = bare.replace(wrapper, "")
    return bare
