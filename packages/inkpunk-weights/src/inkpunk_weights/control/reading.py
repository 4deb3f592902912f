"""A control network, opened: what it is, and its tensors by our names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from torch import Tensor

from inkpunk_weights.components import find_components
from inkpunk_weights.control.naming import (
    ADAPTERS_FOR_XL,
    NAMINGS,
    OTHER_BASES,
    OTHER_WIDTHS,
    RELATIVES,
    Naming,
)
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.folders import open_folder
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.other_models import CONTROL, READ, other_model
from inkpunk_weights.tensor_files import TensorFile, open_tensor_file
from inkpunk_weights.wrappers import unwrap

CONTROL_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
CONTEXT_READER = re.compile(r"\.cross_attention\.key\.weight$")
LEAVES = ("weight", "bias")
WANTED = "Inkpunk draws with ControlNets and T2I-Adapters for Stable Diffusion v1"


@dataclass(frozen=True, eq=False)
class Control:
    """A control network.

    Attributes:
        path: the file or folder it was opened from.
        kind: "ControlNet" or "T2I-Adapter".
        layout: "single file" or "diffusers".
        tensors: by our parameter names, those of `inkpunk_unet.ControlNet` or `T2IAdapter`.
        unknown: names of tensors in the file that are no part of it.
        config: a folder's `config.json`; empty for a file.
        metadata: the notes in the file.
        imports: what a pickle would have imported. Nothing is ever imported.
    """

    path: Path
    kind: str
    layout: str
    tensors: LazyTensors
    unknown: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    imports: tuple[str, ...] = ()


def open_control(path: str | PathLike[str], *, variant: str | None = None) -> Control:
    """Open a control network for Stable Diffusion v1: a ControlNet's or a T2I-Adapter's file, or diffusers' folder.

    What a file is, is told by its content. Only headers are read; tensors are read when they are asked for. No code
    of the file runs. Takes at most 64 MiB of memory beyond what it returns, and time linear in the description.

    Args:
        path: a `.safetensors`, `.pth` or the like, which may hold a checkpoint beside it; or a folder with
            `config.json`.
        variant: of a folder's weights, "fp16" for example; None takes the plain ones, or the only variant there is.

    Raises:
        CheckpointError: if there is nothing there, it is damaged, or it is something else: a checkpoint, an adapter,
            or a control network of another kind or for another model.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise CheckpointError(f"{shown_path(path)}: no such file or folder")
        if path.is_dir():
            folder = open_folder(path, variant=variant)
            if "" not in folder.parts:
                raise CheckpointError(
                    f"{shown_path(path)}: not a control network but a checkpoint's folder", found="checkpoint"
                )
            return _found(path, folder.parts[""], folder.configs.get("", {}))
        return _found(path, open_tensor_file(path), {})
    except (OSError, ValueError) as error:  # ValueError: the path holds a zero byte
        if isinstance(error, CheckpointError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise CheckpointError(f"{shown_path(path)}: cannot be read ({reason})") from error


def _found(path: Path, file: TensorFile, config: Mapping[str, object]) -> Control:
    where, tensors = shown_path(path), unwrap(file.tensors).tensors
    naming, prefix = _naming(where, path, tensors)
    bare = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    ours = {theirs: own for own, theirs in naming.rows(bare)}
    in_file: dict[str, str] = {}
    unknown: list[str] = []
    for name, full in bare.items():
        module, _, leaf = name.rpartition(".")
        if module in ours and leaf in LEAVES:
            in_file[f"{ours[module]}.{leaf}"] = full
        else:
            unknown.append(full)

    def read(name: str) -> Tensor:
        return tensors[in_file[name]]

    named = LazyTensors({name: tensors.spec(full) for name, full in in_file.items()}, read)
    _refuse_other_widths(where, named)
    return Control(
        path, naming.kind, naming.layout, named, tuple(unknown), config, file.metadata, file.imports
    )


def _naming(where: str, path: Path, tensors: LazyTensors) -> tuple[Naming, str]:
    """Which of the namings a file has, and what stands before its names."""
    _refuse_relatives(where, tensors, RELATIVES)
    for naming in NAMINGS:
        for prefix in naming.prefixes:
            if any(name.startswith(prefix + naming.landmark) for name in tensors):
                _refuse_relatives(where, tensors, OTHER_BASES)
                return naming, prefix
    other = other_model(tensors)
    if other and other != CONTROL:
        raise CheckpointError(f"{where}: not a control network but {other}", found=READ.get(other))
    try:
        parts = ", ".join(name.replace("_", " ") for name in find_components(path, tensors).components)
    except CheckpointError:
        some = ", ".join(shown(name, 40) for name in list(tensors)[:3]) or "none at all"
        raise CheckpointError(
            f"{where}: not a ControlNet or T2I-Adapter: no layer of one among its {len(tensors):,} tensors ({some})"
        ) from None
    raise CheckpointError(
        f"{where}: not a control network but a checkpoint of Stable Diffusion v1, or part of one ({parts})",
        found="checkpoint",
    )


def _refuse_relatives(where: str, tensors: LazyTensors, relatives: Mapping[str, str]) -> None:
    for pattern, what in relatives.items():
        found = re.compile(pattern)
        if any(found.search(name) for name in tensors):
            raise CheckpointError(f"{where}: this is {what}; {WANTED}")


def _refuse_other_widths(where: str, tensors: LazyTensors) -> None:
    """Refuse ControlNets whose transformers are another model's, and T2I-Adapters that halve a hint once more."""
    for name in tensors:
        shape = tensors.spec(name).shape
        if CONTEXT_READER.search(name) and shape[-1:] and shape[-1] in OTHER_WIDTHS:
            raise CheckpointError(f"{where}: this is a ControlNet for {OTHER_WIDTHS[shape[-1]]}; {WANTED}")
        if name == "conv_in.weight" and shape[1:2] and shape[1] in ADAPTERS_FOR_XL:
            raise CheckpointError(f"{where}: this is a T2I-Adapter for Stable Diffusion XL; {WANTED}")
