"""ControlNets, written as one file with the names that all programs read."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from inkpunk_weights.atomic import new_file
from inkpunk_weights.control.naming import NAMINGS, single_file_rows
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.narrowing import narrowed
from inkpunk_weights.safetensors_files import write_safetensors


def save_control(
    path: str | PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a ControlNet under its authors' names: one safetensors file, which appears at `path` when it is whole.

    Args:
        path: the file to write.
        tensors: by our parameter names, such as `inkpunk_unet.ControlNet(...).state_dict()`.
        dtype: of the weights.
        metadata: notes for the file's header.
        overwrite: replace what is at `path`.

    Raises:
        CheckpointError: if something is at `path`, a tensor is none of a ControlNet's, or a number is beyond the
            dtype: nothing is written.
    """
    path = Path(path)
    where = shown_path(path)
    theirs = dict(single_file_rows(tensors))
    written = dict[str, Tensor]()
    for ours, tensor in tensors.items():
        module, _, leaf = ours.rpartition(".")
        if module not in theirs:
            raise CheckpointError(f"{where}: not written: a ControlNet has no tensor called {shown(ours)}")
        name = f"{NAMINGS[0].prefixes[0]}{theirs[module]}.{leaf}"
        written[name] = narrowed(tensor.detach().cpu(), dtype, name, where)
    if not written:
        raise CheckpointError(f"{where}: nothing to write; give a ControlNet's tensors")
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in written.items()}
    with new_file(path, overwrite=overwrite) as file:
        write_safetensors(file, LazyTensors(specs, written.__getitem__), metadata or {})
