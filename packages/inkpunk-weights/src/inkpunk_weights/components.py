"""Finds the components in a file's tensors and shows them under our names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from inkpunk_weights.averages import EMA, averaged_unet, ema_name
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.names import DIFFUSERS, LDM, LDM_UNET, Dialect, Names
from inkpunk_weights.other_models import IMAGE_ENCODER, READ, other_model
from inkpunk_weights.wrappers import Unwrapped, unwrap

COMPONENTS = ("text_encoder", "unet", "vae")

LEFTOVERS = re.compile(  # what training leaves in a file: schedules, losses, averages, CLIP's other half
    r"(betas|alphas_cumprod|sqrt_|log_one_minus_|posterior_|lvlb_weights|logvar|scale_factor|model_ema\.|loss\."
    r"|first_stage_model\.loss\.|cond_stage_model\.(logit_scale|text_projection)|vision_model\.|visual_projection\."
    r"|text_projection\.|logit_scale|n_averaged$)|.*\bposition_ids$"
)
# Of these, what was true of the training and is to be heeded: its noise, and the scaling of its latents.
BUFFERS = ("betas", "alphas_cumprod", "sqrt_alphas_cumprod", "scale_factor")
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
        averaged: whether these are moving averages (EMA), not the last weights.
    """

    name: str
    tensors: LazyTensors
    in_file: Mapping[str, str]
    file_specs: Mapping[str, Spec]
    unexpected: tuple[str, ...]
    twice: tuple[tuple[str, str], ...]
    averaged: bool
    _names: Names = field(repr=False)
    _prefix: str = field(repr=False)

    def file_name(self, ours: str) -> str:
        """What the file calls our tensor `ours`, or would call it if it had it."""
        if ours in self.in_file:
            return self.in_file[ours]
        name = self._prefix + (self._names.theirs(ours) or ours)
        return ema_name(name) if self.averaged else name


@dataclass(frozen=True)
class Found:
    """What a file's tensors are: components, training leftovers, and names that belong to neither."""

    components: Mapping[str, Component]
    buffers: LazyTensors
    leftovers: tuple[str, ...]
    unknown: tuple[str, ...]


def find_components(path: Path, tensors: LazyTensors, *, ema: bool = False) -> Found:
    """Sort the tensors of a file by component.

    Args:
        path: for messages.
        tensors: by the file's names.
        ema: take the UNet's moving averages instead of its last weights. Where a file has nothing but these,
            they are taken in any case.

    Raises:
        CheckpointError: if there is no component of Stable Diffusion v1, or no moving averages to take.
    """
    file = unwrap(tensors)
    names = file.tensors
    if other := other_model(names):
        raise CheckpointError(
            f"{shown_path(path)}: this is {other}; Inkpunk loads Stable Diffusion v1 checkpoints",
            found=READ.get(other),
        )
    leftovers = tuple(name for name in names if LEFTOVERS.match(name))
    rest = set(names).difference(leftovers)
    components: dict[str, Component] = {}
    for dialect in (*LDM, *DIFFUSERS):
        prefixes = [
            p for p in dialect.prefixes if any(name.startswith(p + dialect.landmark) for name in rest)
        ]
        if prefixes and dialect.component not in components:
            ours = [name for name in names if name in rest and name.startswith(tuple(prefixes))]
            averaged = ema and dialect.component == "unet"
            component = _component(path, file, dialect, prefixes, ours, averaged)
            components[dialect.component] = component
            rest.difference_update(ours)
    if "unet" not in components and (averages := averaged_unet(leftovers)):
        components["unet"] = _component(path, file, LDM_UNET, LDM_UNET.prefixes[:1], averages, True)
    if not components:
        if any(name.startswith("vision_model.") for name in names):
            raise CheckpointError(f"{shown_path(path)}: this is {IMAGE_ENCODER}", found=READ[IMAGE_ENCODER])
        some = ", ".join(shown(name) for name in list(tensors)[:3]) or "none at all"
        raise CheckpointError(
            f"{shown_path(path)}: no component of Stable Diffusion v1 among its {len(tensors)} tensors ({some}, ...)"
        )
    if ema and not any(name.startswith(EMA) for name in names):
        raise CheckpointError(f"{shown_path(path)}: has no EMA weights ({EMA}*); open it without `ema`")
    ordered = {name: components[name] for name in COMPONENTS if name in components}
    taken = {name for part in ordered.values() for name in (*part.in_file.values(), *part.unexpected)}

    def as_in_file(bare: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for each in bare for name in file.in_file[each] if name not in taken)

    buffers = LazyTensors({name: names.spec(name) for name in BUFFERS if name in names}, names.__getitem__)
    return Found(ordered, buffers, as_in_file(leftovers), as_in_file(name for name in names if name in rest))


def _component(
    path: Path,
    file: Unwrapped,
    dialect: Dialect,
    prefixes: Sequence[str],
    mine: Sequence[str],
    ema: bool,
) -> Component:
    tensors = file.tensors
    bare = {  # of two names for one tensor, the one with the earlier prefix comes first
        name: name.removeprefix(prefix)
        for prefix in prefixes
        for name in mine
        if next(p for p in prefixes if name.startswith(p)) == prefix
    }
    what = dialect.component.replace("_", " ")
    blocks = dialect.blocks(bare.values())
    if not blocks.layers or (dialect.component != "text_encoder" and not blocks.levels):
        raise CheckpointError(
            f"{shown_path(path)}: has some names of a {what} but not one whole block; the file is incomplete"
        )
    names = Names(dialect, blocks)
    in_file: dict[str, str] = {}
    unexpected: list[str] = []
    twice: list[tuple[str, str]] = []
    for name, without_prefix in bare.items():
        ours = names.ours(without_prefix)
        average = ema_name(name)
        source = average if ema and (ours is not None or name not in tensors) else name
        if source not in tensors:
            continue
        first, *again = file.in_file[source]
        if ours is None:
            unexpected.append(first)
            continue
        if ours in in_file:
            again.insert(0, first)
        twice += [(in_file.setdefault(ours, first), other) for other in again]
        in_file.setdefault(ours, first)
    if len(unexpected) == len(bare):
        some = ", ".join(shown(name) for name in unexpected[:2])
        raise CheckpointError(
            f"{shown_path(path)}: has names like a {what}'s ({some}, ...), but none that Stable Diffusion v1's has; "
            "this is another model, and Inkpunk loads Stable Diffusion v1 checkpoints"
        )
    file_specs = {ours: file.stored.spec(name) for ours, name in in_file.items()}
    specs = {ours: Spec(spec.dtype, our_shape(ours, spec.shape)) for ours, spec in file_specs.items()}

    def read(ours: str) -> Tensor:
        tensor = file.stored[in_file[ours]]
        return tensor.view(specs[ours].shape) if tensor.shape != specs[ours].shape else tensor

    return Component(
        dialect.component,
        LazyTensors(specs, read),
        in_file,
        file_specs,
        tuple(unexpected),
        tuple(twice),
        ema,
        names,
        prefixes[0] if ema else file.prefix(*next(iter(bare.items()))),
    )


def our_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape we give a tensor: the VAE's attention is 1x1 convolutions to LDM, linear layers to us."""
    if VAE_ATTENTION.fullmatch(ours) and len(shape) == 4 and shape[2:] == (1, 1):
        return shape[:2]
    return shape


def ldm_shape(ours: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The inverse of `our_shape`."""
    return (*shape, 1, 1) if VAE_ATTENTION.fullmatch(ours) and len(shape) == 2 else shape
