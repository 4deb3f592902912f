"""Adapters of the LoRA kind, written in kohya's layout, which every program reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_weights.adapters.naming import TEXT_ENCODER, UNET, kohya_name
from inkpunk_weights.atomic import new_file
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.narrowing import narrowed
from inkpunk_weights.safetensors_files import write_safetensors


@dataclass(frozen=True, eq=False)
class LowRank:
    """What a LoRA adds to one layer's weight: alpha / rank * up @ down.

    Attributes:
        down: (rank, ins) for a linear layer, (rank, ins, height, width) for a convolution.
        up: (outs, rank) or (outs, rank, 1, 1).
        alpha: the scale at which it was trained.
    """

    down: Float[Tensor, "rank ..."]
    up: Float[Tensor, "outs rank ..."]
    alpha: float


def save_lora(
    path: str | PathLike[str],
    *,
    text_encoder: Mapping[str, LowRank] | None = None,
    unet: Mapping[str, LowRank] | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a LoRA as kohya's scripts do: one safetensors file, which appears at `path` when it is whole.

    Args:
        path: the file to write.
        text_encoder: by our names of layers ("layers.0.attention.query"), what is added to each.
        unet: likewise ("down.0.attentions.0.block.self_attention.query").
        dtype: of the matrices.
        metadata: notes for the file's header, such as `ss_output_name`.
        overwrite: replace what is at `path`.

    Raises:
        CheckpointError: if something is at `path`, a layer is none of Stable Diffusion v1's, a number is beyond the
            dtype, or there is nothing to write: nothing is written.
    """
    path = Path(path)
    where = shown_path(path)
    tensors = dict[str, Tensor]()
    for component, layers in ((TEXT_ENCODER, text_encoder or {}), (UNET, unet or {})):
        for ours, change in layers.items():
            theirs = kohya_name(component, ours)
            if theirs is None:
                raise CheckpointError(f"{where}: not written: {component} has no layer called {shown(ours)}")
            parts = {
                "lora_down.weight": change.down.detach().cpu(),
                "lora_up.weight": change.up.detach().cpu(),
                "alpha": torch.tensor(change.alpha, dtype=torch.float64),
            }
            for part, tensor in parts.items():
                name = f"{theirs}.{part}"
                tensors[name] = narrowed(tensor, dtype, name, where)
    if not tensors:
        raise CheckpointError(f"{where}: nothing to write; give a text encoder's or a UNet's layers")
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with new_file(path, overwrite=overwrite) as file:
        write_safetensors(file, LazyTensors(specs, tensors.__getitem__), metadata or {})
