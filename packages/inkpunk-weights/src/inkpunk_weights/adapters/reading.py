"""An adapter, opened: what it is, and for each weight of a checkpoint the change that it makes."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from inkpunk_weights.adapters.changes import FULL, LOHA, LOKR, LORA, Change
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
from inkpunk_weights.embeddings import open_embedding
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.json_texts import MOST_JSON_BYTES
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.other_models import ADAPTER, EMBEDDING, READ, other_model
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.tensor_files import open_tensor_file

ADAPTER_FILES = (".safetensors", ".pt", ".bin", ".ckpt")
PEFT_CONFIG = "adapter_config.json"
PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
DIFFUSERS_FILES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")

# Without each of these there is no difference; one set of several is enough.
NEEDED: Mapping[str, tuple[frozenset[str], ...]] = {
    LORA: (frozenset({"up", "down"}),),
    LOHA: (frozenset({"w1_a", "w1_b", "w2_a", "w2_b"}),),
    LOKR: tuple(
        frozenset({*one, *two}) for one in (("w1",), ("w1_a", "w1_b")) for two in (("w2",), ("w2_a", "w2_b"))
    ),
    FULL: (frozenset({"difference"}),),
}
# Layers whose inputs are as wide as the text encoder, of which v1's is 768; parts whose second axis is that width.
OF_WIDTH = re.compile(r"attn2[._](processor[._])?to_[kv]$|self_attn[._](to_[qkv]|[qkv]_proj)$")
READS_INPUT = ("down", "w1_b")
OTHER_WIDTHS = {1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL", 2048: "Stable Diffusion XL"}
Named = tuple[str, Part]  # a name, of a tensor or of its layer, and which part the tensor is
Known = Mapping[str, Named]
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


@dataclass(frozen=True)
class _Found:
    """What was found in an adapter's files."""

    changes: Mapping[str, dict[str, Change]]
    every: list[Change]  # those of layers without a place, too
    placeless: list[str]
    unknown: list[str]


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
    try:
        files = _files(path)
    except (OSError, ValueError) as error:  # ValueError: the path holds a zero byte
        if isinstance(error, CheckpointError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise CheckpointError(f"{shown_path(path)}: cannot be read ({reason})") from error
    found = _Found({TEXT_ENCODER: {}, UNET: {}}, [], [], [])
    for file in files:
        _add(file, found)
    return Adapter(
        path=path,
        kind=_kind(found.every),
        layout=layout_of([name for file in files for name in file.tensors]),
        text_encoder=found.changes[TEXT_ENCODER],
        unet=found.changes[UNET],
        placeless=tuple(found.placeless),
        unknown=tuple(found.unknown),
        ranks=dict(sorted(Counter(change.rank for change in found.every if change.rank).items())),
        metadata=files[0].metadata,
        imports=tuple(sorted({name for file in files for name in file.imports})),
    )


def _files(path: Path) -> list[_File]:
    if not path.exists():
        raise CheckpointError(f"{shown_path(path)}: no such file or folder")
    return _folder(path) if path.is_dir() else [_file(path)]


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
    check_regular(config_path)
    with config_path.open("rb") as file:
        config = parse_config(file.read(MOST_JSON_BYTES + 1), where)
    scaling = read_scaling(config, where)
    for name in PEFT_FILES:
        if (folder / name).exists():
            found = open_tensor_file(folder / name)
            scalings = {UNET: scaling, TEXT_ENCODER: scaling}
            return _File(folder / name, found.tensors, found.metadata, found.imports, scalings, component)
    raise CheckpointError(f"{shown_path(folder)}: has {PEFT_CONFIG}, but no {PEFT_FILES[0]}; fetch it again")


def _file(path: Path) -> _File:
    try:
        found = open_tensor_file(path)
    except CheckpointError:
        if _is_embedding(path):  # AUTOMATIC1111's have their tensor deeper than any adapter
            raise CheckpointError(f"{shown_path(path)}: not an adapter but {EMBEDDING}") from None
        raise
    told = read_told(found.metadata, shown_path(path))
    scalings = {
        name: read_scaling(told, shown_path(path), f"{name}.")
        for name in (UNET, TEXT_ENCODER)
        if any(key.startswith(f"{name}.") for key in told)
    }
    return _File(path, found.tensors, found.metadata, found.imports, scalings)


def _is_embedding(path: Path) -> bool:
    try:
        open_embedding(path)
    except CheckpointError:
        return False
    return True


def _add(file: _File, found: _Found) -> None:
    """Sort a file's tensors by the weight that they change."""
    where, names = shown_path(file.path), [*file.tensors]
    known = {name: told for name in names if (told := part_of(name)) is not None}
    unknown = [name for name in names if name not in known]
    _refuse_relatives(where, file, known, unknown)
    for (layer, leaf), parts in _grouped(where, known, unknown).items():
        place = layer_of(layer)
        scaling = file.scalings.get(place[0]) if place else None
        change = _change(file, where, layer, parts, scaling)
        found.every.append(change)
        if place is None or file.only not in (None, place[0]):
            found.placeless.append(layer)
            continue
        component, ours = place
        other = found.changes[component].setdefault(f"{ours}.{leaf}", change)
        if other is not change:
            raise CheckpointError(
                f"{change.where} and {other.where} are the same layer; get another copy of it"
            )
    found.unknown.extend(unknown)


def _grouped(where: str, known: Known, unknown: list[str]) -> Mapping[tuple[str, str], dict[str, Named]]:
    """By layer and parameter its parts; what belongs to none is put among the unknown."""
    grouped: dict[tuple[str, str], dict[str, Named]] = {}
    for name, (layer, part) in sorted(
        known.items(), key=lambda item: not item[1][1].kind
    ):  # those with one first
        key = (layer, part.leaf)
        if not part.kind and key not in grouped:
            unknown.append(name)
            continue
        first = grouped.setdefault(key, {}).setdefault(part.part, (name, part))
        if first[0] != name:
            raise CheckpointError(
                f"{where}: {shown(first[0])} and {shown(name)} are the same part of one layer; get another copy of it"
            )
    return grouped


def _refuse_relatives(where: str, file: _File, known: Known, unknown: Sequence[str]) -> None:
    """Refuse adapters of other kinds and for other models, and what is no adapter at all."""
    if kind := unread_kind(unknown):
        raise CheckpointError(
            f"{where}: an adapter of kind {kind}, which Inkpunk does not read; it reads LoRA, LoCon, LoHa, LoKr "
            "and DoRA"
        )
    if not any(part.kind for _, part in known.values()):
        _refuse_what_is_none(where, file)
    if model := other_base(file.tensors) or _other_width(file, known):
        raise CheckpointError(
            f"{where}: an adapter for {model}; Inkpunk draws with Stable Diffusion v1, so get one made for that"
        )


def _change(
    file: _File, where: str, layer: str, parts: Mapping[str, Named], scaling: Scaling | None
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
    flat = [part for part, (_, told) in parts.items() if told.vector]
    specs |= {part: Spec(specs[part].dtype, (specs[part].numel,)) for part in flat}
    rank = next((specs[part].shape[0] for part in RANKS.get(kind, ()) if part in specs), None)
    scale = 1.0
    if alpha_name is not None and rank is not None:
        scale = _alpha(file.tensors, alpha_name, where) / rank
    elif alpha_name is None and scaling is not None and kind != FULL:
        scale = scaling.of(bare_layer(layer), rank)

    def read(part: str) -> Tensor:
        return file.tensors[names[part]].reshape(specs[part].shape)

    return Change(kind, LazyTensors(specs, read), scale, rank, file.path, layer)


def _alpha(tensors: LazyTensors, name: str, where: str) -> float:
    spec = tensors.spec(name)
    if spec.numel != 1 or spec.dtype.is_complex:
        raise CheckpointError(f"{where}: {shown(name)} should be one number; fetch it again")
    alpha = float(tensors[name].reshape(()))
    if not abs(alpha) < 1e6:  # NaN is neither
        raise CheckpointError(f"{where}: {shown(name)} cannot be {alpha}; fetch it again")
    return alpha


def _refuse_what_is_none(where: str, file: _File) -> None:
    if (other := other_model(file.tensors)) and other != ADAPTER:  # of which no layer was found
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


def _other_width(file: _File, known: Known) -> str | None:
    """The model whose text encoder's width the layers have that read from it, if that is another than v1's."""
    for name, (layer, part) in known.items():
        shape = file.tensors.spec(name).shape
        if (
            part.part in READS_INPUT
            and len(shape) > 1
            and shape[1] in OTHER_WIDTHS
            and OF_WIDTH.search(layer)
        ):
            return OTHER_WIDTHS[shape[1]]
    return None


def _kind(changes: Sequence[Change]) -> str:
    kinds = {"LoCon" if _is_convolution(change) else change.kind for change in changes}
    if "LoCon" in kinds:  # which has linear layers, too
        kinds.discard(LORA)
    name = " and ".join(sorted(kinds))
    return f"{name} with DoRA" if any(change.decomposed for change in changes) else name


def _is_convolution(change: Change) -> bool:
    """Whether it is a LoRA of a kernel that sees more than one point; one that does not is a linear layer."""
    if change.kind != LORA:
        return False
    return "mid" in change.parts or math.prod(change.parts.spec("down").shape[2:]) > 1
