"""An adapter, opened: what it is, and for each weight of a checkpoint the change that it makes."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from inkpunk_weights.adapters.changes import FULL, LOHA, LOKR, LORA, MAGNITUDE, Change
from inkpunk_weights.adapters.naming import (
    ALPHA,
    TEXT_ENCODER,
    UNET,
    Part,
    bare_layer,
    layer_of,
    layout_of,
    other_base,
    part_of,
    unread_kind,
)
from inkpunk_weights.adapters.scaling import Scaling, parse_config, read_scaling, read_told
from inkpunk_weights.components import find_components
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.json_texts import MOST_JSON_BYTES
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.other_models import READ, other_model
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.tensor_files import open_tensor_file

ADAPTER_FILES = (".safetensors", ".pt", ".bin", ".ckpt")
PEFT_CONFIG = "adapter_config.json"
PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
DIFFUSERS_FILES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")
CONVOLUTION = 4  # axes of a kernel

# Without each of these there is no difference; one set of several is enough.
NEEDED: Mapping[str, tuple[frozenset[str], ...]] = {
    LORA: (frozenset({"up", "down"}),),
    LOHA: (frozenset({"w1_a", "w1_b", "w2_a", "w2_b"}),),
    LOKR: tuple(
        frozenset({*one, *two}) for one in (("w1",), ("w1_a", "w1_b")) for two in (("w2",), ("w2_a", "w2_b"))
    ),
    FULL: (frozenset({"difference"}),),
}
CROSS_ATTENTION = re.compile(r"attn2[._](processor\.)?to_[kv]$")
READS_CONTEXT = ("down", "w1_b")  # parts whose second axis is the context's width
CONTEXT_WIDTHS = {1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL", 2048: "Stable Diffusion XL"}
RANKS = {LORA: ("down",), LOHA: ("w1_b",), LOKR: ("w1_b", "w2_b")}  # parts whose first axis is the rank


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter of the LoRA family.

    Attributes:
        path: the file or folder it was opened from.
        kind: what it is, as its users call it: "LoRA", "LoCon" (with convolutions), "LoHa", "LoKr", "full", a DoRA of
            any of these as "LoRA with DoRA", or several of them joined by " and ".
        layout: "kohya", "diffusers" or "PEFT".
        text_encoder: by our parameter names, the changes of the text encoder's; empty for none.
        unet: likewise of the UNet's.
        placeless: names of the layers in the file that Stable Diffusion v1 does not have.
        unknown: names of tensors that are no part of such an adapter.
        ranks: how many layers there are of each rank.
        metadata: the notes in the file.
        imports: what a pickle would have imported. Nothing is ever imported.
    """

    path: Path
    kind: str
    layout: str
    text_encoder: Mapping[str, Change]
    unet: Mapping[str, Change]
    placeless: tuple[str, ...]
    unknown: tuple[str, ...]
    ranks: Mapping[int, int]
    metadata: Mapping[str, object]
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """The tensors of a file, and which components' scales are known from elsewhere."""

    path: Path
    tensors: LazyTensors
    metadata: Mapping[str, object]
    imports: tuple[str, ...]
    scalings: Mapping[str, Scaling]
    only: str | None = None  # the component that all of it is about


def open_adapter(path: str | PathLike[str]) -> Adapter:
    """Open an adapter of the LoRA family for Stable Diffusion v1, by kohya's scripts, LyCORIS, diffusers or PEFT.

    What a file is, is told by its content. Only headers are read; tensors are read when a change asks for them. No
    code of the file runs. Takes at most 64 MiB of memory beyond what it returns, and time linear in the description.

    Args:
        path: a file, or the folder that PEFT or diffusers saved: with `adapter_config.json`, of which "unet" and
            "text_encoder" may be subfolders, or with `pytorch_lora_weights.safetensors`.

    Raises:
        CheckpointError: if there is nothing there, it is damaged or incomplete, or it is something else: a
            checkpoint, an adapter of another kind, or of another model.
    """
    path = Path(path)
    if path.is_dir():
        files = _folder(path)
    elif not path.exists():
        raise CheckpointError(f"{shown_path(path)}: no such file or folder")
    else:
        files = [_file(path)]
    changes: dict[str, dict[str, Change]] = {TEXT_ENCODER: {}, UNET: {}}
    placeless, unknown = list[str](), list[str]()
    for file in files:
        _add(file, changes, placeless, unknown)
    first = files[0]
    every = [change for found in changes.values() for change in found.values()]
    return Adapter(
        path=path,
        kind=_kind(every),
        layout=layout_of([name for file in files for name in file.tensors]),
        text_encoder=changes[TEXT_ENCODER],
        unet=changes[UNET],
        placeless=tuple(placeless),
        unknown=tuple(unknown),
        ranks=dict(sorted(Counter(change.rank for change in every if change.rank).items())),
        metadata=first.metadata,
        imports=tuple(sorted({name for file in files for name in file.imports})),
    )


def _folder(path: Path) -> list[_File]:
    parts = {name: path / name for name in (UNET, TEXT_ENCODER) if (path / name / PEFT_CONFIG).exists()}
    if parts:
        return [_peft(folder, component) for component, folder in parts.items()]
    if (path / PEFT_CONFIG).exists():
        return [_peft(path, None)]
    for name in DIFFUSERS_FILES:
        if (path / name).exists():
            return [_file(path / name)]
    raise CheckpointError(
        f"{shown_path(path)}: a folder without {PEFT_CONFIG} and without {DIFFUSERS_FILES[0]}; name the "
        "adapter's file"
    )


def _peft(folder: Path, component: str | None) -> _File:
    """The adapter of one network, of which PEFT does not say which."""
    config_path = folder / PEFT_CONFIG
    where = shown_path(config_path)
    try:
        check_regular(config_path)
        with config_path.open("rb") as file:
            config = parse_config(file.read(MOST_JSON_BYTES + 1), where)
    except OSError as error:
        raise CheckpointError(f"{where}: cannot be read ({error.strerror})") from error
    scaling = read_scaling(config, where)
    for name in PEFT_FILES:
        if (folder / name).exists():
            found = open_tensor_file(folder / name)
            scalings = {UNET: scaling, TEXT_ENCODER: scaling}
            return _File(folder / name, found.tensors, found.metadata, found.imports, scalings, component)
    raise CheckpointError(f"{shown_path(folder)}: has {PEFT_CONFIG}, but no {PEFT_FILES[0]}; fetch it again")


def _file(path: Path) -> _File:
    found = open_tensor_file(path)
    told = read_told(found.metadata, shown_path(path))
    scalings = {
        name: read_scaling(told, shown_path(path), f"{name}.")
        for name in (UNET, TEXT_ENCODER)
        if any(key.startswith(f"{name}.") for key in told)
    }
    return _File(path, found.tensors, found.metadata, found.imports, scalings)


def _add(
    file: _File, changes: Mapping[str, dict[str, Change]], placeless: list[str], unknown: list[str]
) -> None:
    """Sort a file's tensors by the weight that they change."""
    where, names = shown_path(file.path), [*file.tensors]
    known = {name: found for name in names if (found := part_of(name)) is not None}
    if kind := unread_kind(names):
        raise CheckpointError(
            f"{where}: an adapter of kind {kind}, which Inkpunk does not read; it reads LoRA, LoCon, LoHa, LoKr "
            "and DoRA"
        )
    if not any(part.kind for _, part in known.values()):
        _refuse_what_is_none(where, file)
    if model := other_base(names) or _other_width(file):
        raise CheckpointError(
            f"{where}: an adapter for {model}; Inkpunk draws with Stable Diffusion v1, so get one made for that"
        )
    unknown += [name for name in names if name not in known]
    grouped: dict[tuple[str, str], dict[str, tuple[str, Part]]] = {}
    for name, (layer, part) in known.items():
        if part.kind:
            grouped.setdefault((layer, part.leaf), {})[part.part] = (name, part)
    for name, (layer, part) in known.items():
        if not part.kind:
            if (layer, "weight") in grouped:
                grouped[layer, "weight"][part.part] = (name, part)
            else:
                unknown.append(name)
    for (layer, leaf), parts in grouped.items():
        place = layer_of(layer)
        scaling = file.scalings.get(place[0]) if place else None
        change = _change(file, where, layer, parts, scaling)
        if place is None or file.only not in (None, place[0]):
            placeless.append(layer)
            continue
        component, ours = place
        known_already = changes[component].setdefault(f"{ours}.{leaf}", change)
        if known_already is not change:
            raise CheckpointError(
                f"{change.where} and {known_already.where} are the same layer; get another copy of it"
            )


def _change(
    file: _File, where: str, layer: str, parts: Mapping[str, tuple[str, Part]], scaling: Scaling | None
) -> Change:
    kinds = sorted({part.kind for _, part in parts.values() if part.kind})
    if len(kinds) > 1:
        raise CheckpointError(
            f"{where}: {shown(layer)} is both {' and '.join(kinds)}; get another copy of it"
        )
    kind, names = kinds[0], {part: name for part, (name, _) in parts.items()}
    alpha_name = names.pop(ALPHA, None)
    specs = {part: file.tensors.spec(name) for part, name in names.items()}
    if not any(needed <= specs.keys() for needed in NEEDED[kind]):
        raise CheckpointError(
            f"{where}: {shown(layer)} has {', '.join(sorted(specs))} alone, which is half a {kind}; fetch it again"
        )
    for part, spec in specs.items():
        if not spec.dtype.is_floating_point or not spec.numel or not spec.shape:
            raise CheckpointError(
                f"{where}: {shown(names[part])} is {spec.dtype} of shape {list(spec.shape)}, and should be "
                "floating-point and not empty"
            )
    rank = next((specs[part].shape[0] for part in RANKS.get(kind, ()) if part in specs), None)
    scale = 1.0
    if alpha_name is not None and rank is not None:
        scale = _alpha(file.tensors, alpha_name, where) / rank
    elif alpha_name is None and scaling is not None and kind != FULL:
        scale = scaling.of(bare_layer(layer), rank)

    def read(part: str) -> Tensor:
        return file.tensors[names[part]]

    return Change(kind, LazyTensors(specs, read), scale, rank, f"{where}: {shown(layer)}")


def _alpha(tensors: LazyTensors, name: str, where: str) -> float:
    if tensors.spec(name).numel != 1:
        raise CheckpointError(f"{where}: {shown(name)} should be one number; fetch it again")
    alpha = float(tensors[name].reshape(()))
    if not abs(alpha) < 1e6:  # NaN is neither
        raise CheckpointError(f"{where}: {shown(name)} cannot be {alpha}; fetch it again")
    return alpha


def _refuse_what_is_none(where: str, file: _File) -> None:
    if other := other_model(file.tensors):
        raise CheckpointError(f"{where}: not an adapter but {other}", found=READ.get(other))
    try:
        found = find_components(file.path, file.tensors)
    except CheckpointError:
        some = ", ".join(shown(name, 40) for name in list(file.tensors)[:3]) or "none at all"
        raise CheckpointError(
            f"{where}: not an adapter of the LoRA family: no layer of one among its "
            f"{len(file.tensors):,} tensors ({some})"
        ) from None
    parts = ", ".join(name.replace("_", " ") for name in found.components)
    raise CheckpointError(
        f"{where}: not an adapter but a checkpoint of Stable Diffusion v1, or part of one ({parts})",
        found="checkpoint",
    )


def _other_width(file: _File) -> str | None:
    """The model whose text encoder's width the cross-attention's layers have, if that is another than v1's."""
    for name in file.tensors:
        found = part_of(name)
        if found and found[1].part in READS_CONTEXT and CROSS_ATTENTION.search(found[0]):
            shape = file.tensors.spec(name).shape
            if len(shape) > 1 and shape[1] in CONTEXT_WIDTHS:
                return CONTEXT_WIDTHS[shape[1]]
    return None


def _kind(changes: Sequence[Change]) -> str:
    kinds = dict[str, None]()
    for change in changes:
        name = change.kind
        if name == LORA and len(change.parts.spec("down").shape) == CONVOLUTION:
            name = (
                "LoCon"
                if "mid" in change.parts or math.prod(change.parts.spec("down").shape[2:]) > 1
                else name
            )
        kinds[name] = None
    if "LoCon" in kinds:  # which has linear layers, too
        kinds.pop(LORA, None)
    name = " and ".join(sorted(kinds))
    return f"{name} with DoRA" if any(MAGNITUDE in change.parts for change in changes) else name
