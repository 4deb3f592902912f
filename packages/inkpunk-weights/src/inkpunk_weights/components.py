"""Finds the components in a file's tensors and shows them under our names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.names import DIFFUSERS, LDM, Dialect, Names
from inkpunk_weights.other_models import other_model

COMPONENTS = ("text_encoder", "unet", "vae")

LEFTOVERS = re.compile(  # what training leaves in a file: schedules, losses, averages, CLIP's other half
    r"(betas|alphas_cumprod|sqrt_|log_one_minus_|posterior_|lvlb_weights|logvar|scale_factor|model_ema\.|loss\."
    r"|first_stage_model\.loss\.|cond_stage_model\.(logit_scale|text_projection)|vision_model\.|visual_projection\."
    r"|text_projection\.|logit_scale)|.*\bposition_ids$"
)
EMA_OF = "model."  # only this module is averaged in training: LDM's wrapper around the UNet
EMA = "model_ema."
VAE_ATTENTION = re.compile(r"(en|de)coder\.middle\.attention\.(query|key|value|out)\.weight")


@dataclass(frozen=True)
class Component:
    """One component of a checkpoint.

    Args:
        name: "text_encoder", "unet" or "vae".
        tensors: by our names and in our shapes.
        in_file: for each of them its name in the file.
        file_specs: for each of them its dtype and shape in the file.
        unexpected: the file's names in this component's part that no layer of it has.
        twice: pairs of the file's names that mean the same tensor; the first is used.
    """

    name: str
    tensors: LazyTensors
    in_file: Mapping[str, str]
    file_specs: Mapping[str, Spec]
    unexpected: tuple[str, ...]
    twice: tuple[tuple[str, str], ...]
    _names: Names = field(repr=False)
    _prefix: str = field(repr=False)
    _ema: bool = field(repr=False)

    def file_name(self, ours: str) -> str:
        """What the file calls our tensor `ours`, or would call it if it had it."""
        if ours in self.in_file:
            return self.in_file[ours]
        name = self._prefix + (self._names.theirs(ours) or ours)
        return ema_name(name) if self._ema else name


@dataclass(frozen=True)
class Found:
    """What a file's tensors are: components, training leftovers, and names that belong to neither."""

    components: Mapping[str, Component]
    leftovers: tuple[str, ...]
    unknown: tuple[str, ...]


def ema_name(name: str) -> str:
    """Where LDM keeps the moving average of the UNet's tensor `name`: under its name without dots."""
    return EMA + name.removeprefix(EMA_OF).replace(".", "")


def find_components(path: Path, tensors: LazyTensors, *, ema: bool = False) -> Found:
    """Sort the tensors of a file by component.

    Args:
        path: for messages.
        tensors: by the file's names.
        ema: take the UNet's moving averages instead of its last weights.

    Raises:
        CheckpointError: if there is no component of Stable Diffusion v1, or no moving averages to take.
    """
    if other := other_model(tensors):
        raise CheckpointError(f"{path}: this is {other}; Inkpunk loads Stable Diffusion v1 checkpoints")
    leftovers = tuple(name for name in tensors if LEFTOVERS.match(name))
    rest = set(tensors).difference(leftovers)
    components: dict[str, Component] = {}
    for dialect in (*LDM, *DIFFUSERS):
        prefixes = [
            p for p in dialect.prefixes if any(name.startswith(p + dialect.landmark) for name in rest)
        ]
        if prefixes and dialect.component not in components:
            ours = [name for name in tensors if name in rest and name.startswith(tuple(prefixes))]
            averaged = ema and dialect.component == "unet"
            component = _component(path, tensors, dialect, prefixes, ours, averaged)
            components[dialect.component] = component
            rest.difference_update(ours)
    if not components:
        some = ", ".join(shown(name) for name in list(tensors)[:3]) or "none at all"
        raise CheckpointError(
            f"{path}: no component of Stable Diffusion v1 among its {len(tensors)} tensors ({some}, ...)"
        )
    if ema and not any(name.startswith(EMA) for name in tensors):
        raise CheckpointError(f"{path}: has no EMA weights ({EMA}*); open it without `ema`")
    ordered = {name: components[name] for name in COMPONENTS if name in components}
    return Found(ordered, leftovers, tuple(name for name in tensors if name in rest))


def _component(
    path: Path,
    tensors: LazyTensors,
    dialect: Dialect,
    prefixes: Sequence[str],
    mine: Sequence[str],
    ema: bool,
) -> Component:
    bare = {  # of two names for one tensor, the one with the earlier prefix comes first
        name: name.removeprefix(prefix)
        for prefix in prefixes
        for name in mine
        if next(p for p in prefixes if name.startswith(p)) == prefix
    }
    blocks = dialect.blocks(bare.values())
    if not blocks.layers or (dialect.component != "text_encoder" and not blocks.levels):
        what = dialect.component.replace("_", " ")
        raise CheckpointError(
            f"{path}: has some names of a {what} but not one whole block; the file is incomplete"
        )
    names = Names(dialect, blocks)
    in_file: dict[str, str] = {}
    unexpected: list[str] = []
    twice: list[tuple[str, str]] = []
    for name, without_prefix in bare.items():
        ours = names.ours(without_prefix)
        source = ema_name(name) if ema else name
        if ours is None:
            unexpected.append(name)
        elif ours in in_file:
            twice.append((in_file[ours], name))
        elif source in tensors:
            in_file[ours] = source
    file_specs = {ours: tensors.spec(name) for ours, name in in_file.items()}
    specs = {ours: Spec(spec.dtype, our_shape(ours, spec.shape)) for ours, spec in file_specs.items()}

    def read(ours: str) -> Tensor:
        tensor = tensors[in_file[ours]]
        return tensor.view(specs[ours].shape) if tensor.shape != specs[ours].shape else tensor

    return Component(
        dialect.component,
        LazyTensors(specs, read),
        in_file,
        file_specs,
        tuple(unexpected),
        tuple(twice),
        names,
        prefixes[0],
        ema,
    )


def our_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape we give a tensor: the VAE's attention is 1x1 convolutions to LDM, linear layers to us."""
    if VAE_ATTENTION.fullmatch(ours) and len(shape) == 4 and shape[2:] == (1, 1):
        return shape[:2]
    return shape


def ldm_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The inverse of `our_shape`."""
    return (*shape, 1, 1) if VAE_ATTENTION.fullmatch(ours) and len(shape) == 2 else shape
