"""Adapters of the LoRA family: which ones a user means, whether they fit a model, and its weights with them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from inkpunk_sketch import adapters as boxed_adapters
from inkpunk_weights import (
    ADAPTER_FILES,
    Adapter,
    Change,
    CheckpointError,
    LazyTensors,
    Spec,
    merged,
    narrowed,
    open_adapter,
)
from torch import Tensor

from inkpunk.memory.pages import ReadOnce
from inkpunk.models.hashing import short_hash
from inkpunk.models.loading import Defaults, told_defaults
from inkpunk.pictures.numbers import exact
from inkpunk.road import given

COMPONENTS = ("text_encoder", "unet")
MOST_STRENGTH = 100.0
FOLDER_SIGNS = ("adapter_config.json", "pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")

DtypeOf = Callable[[torch.dtype], torch.dtype]
Changes = Mapping[str, Sequence[tuple[Change, float]]]
"""By a parameter's name, what is done to it, and how much of it."""


@dataclass(frozen=True)
class Lora:
    """An adapter of the LoRA family as a user asks for it.

    Attributes:
        file: its file, or the folder that PEFT or diffusers saved; or a name in the folder of adapters, or of one in
            the box.
        weight: how much of it is added to the UNet's weights; 1 is as it was trained, 0 nothing.
        text_encoder: how much of it is added to the text encoder's; None for as much.

    Raises:
        CheckpointError: for a weight that is not a number between -100 and 100.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    file: str | Path
    weight: float = 1.0
    text_encoder: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.file, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]  # Python's callers
            raise CheckpointError(f"LoRA: must be the path of a file, not {type(self.file).__name__}")
        for name in ("weight", "text_encoder"):
            value = getattr(self, name)
            if value is None and name == "text_encoder":
                continue
            try:
                value = given.number(name.replace("_", " "), value)
            except given.GivenError as error:
                raise CheckpointError(f"LoRA {self.file}, {error}") from error
            if not abs(value) <= MOST_STRENGTH:  # NaN is neither
                raise CheckpointError(f"LoRA {self.file}: weight {value} cannot be; 0 to 1 is usual")
            object.__setattr__(self, name, value)  # it is frozen for all others

    @classmethod
    def read(cls, text: str) -> "Lora":
        """Read FILE, FILE:WEIGHT or FILE:WEIGHT:TEXT_ENCODER."""
        match = re.fullmatch(
            r"(.+?)(?::([+-]?[\d.]+(?:e-?\d+)?))?(?::([+-]?[\d.]+(?:e-?\d+)?))?", text, re.DOTALL
        )
        try:
            if match is None:
                raise ValueError
            weight, text_encoder = (None if each is None else float(each) for each in match.groups()[1:])
        except ValueError:
            raise CheckpointError(f"LoRA {text!r}: is not FILE, FILE:0.8 or FILE:0.8:0.5") from None
        return cls(match[1], 1.0 if weight is None else weight, text_encoder)

    @property
    def strengths(self) -> Mapping[str, float]:
        """How much of it each component gets."""
        return {
            "text_encoder": self.weight if self.text_encoder is None else self.text_encoder,
            "unet": self.weight,
        }


@dataclass(frozen=True, eq=False)
class OpenLora:
    """An adapter that was found and opened.

    Attributes:
        asked: what was asked for.
        name: what pictures call it.
        adapter: what its file holds.
    """

    asked: Lora
    name: str
    adapter: Adapter

    @property
    def weights(self) -> str:
        """How much of it, as `Lora.read` reads it: "0.8" or "0.8:0.5"."""
        both = (self.asked.weight, self.asked.text_encoder)
        return ":".join(exact(each) for each in both if each is not None)

    @property
    def hash(self) -> str:
        """The first 12 hex digits of its file's SHA-256, or what a folder is known by; "" where it is gone."""
        return short_hash(self.adapter.path)

    def changes(self, component: str) -> Mapping[str, Change]:
        """What it does to "text_encoder" or "unet", by the parameters' names."""
        return getattr(self.adapter, component)


def open_lora(asked: Lora, folder: Path | None) -> OpenLora:
    """Find an adapter, and open it.

    Args:
        asked: which.
        folder: of adapters that are called by their names.

    Raises:
        CheckpointError: where there is none of this name, or several, or it is none for Stable Diffusion v1.
    """
    path = Path(asked.file)
    if not path.exists():
        path = _named(str(asked.file), folder)
    if path.is_dir() and not is_adapter_folder(path):
        raise CheckpointError(
            f"{path}: a folder of no adapter; to call adapters in it by their names, give it as --lora-folder"
        )
    return OpenLora(asked, path.name if path.is_dir() else path.stem, open_adapter(path))


def open_loras(asked: Iterable[str | Path | Lora], folder: Path | None) -> tuple[OpenLora, ...]:
    """As `open_lora`, each; a text is one as `Lora.read` reads it, unless it is a file's path as it stands."""
    return tuple(open_lora(_asked(each), folder) for each in asked)


def by_name(loras: Iterable[OpenLora]) -> dict[str, OpenLora]:
    """Adapters by what pictures call them; of several that are called alike, the second has a 2 behind its name."""
    found, times = dict[str, OpenLora](), Counter[str]()
    for lora in loras:
        times[lora.name] += 1
        found[f"{lora.name} {times[lora.name]}" if times[lora.name] > 1 else lora.name] = lora
    return found


def _asked(given: str | Path | Lora) -> Lora:
    if isinstance(given, Lora):
        return given
    return Lora.read(given) if isinstance(given, str) and not Path(given).exists() else Lora(given)


def is_adapter_folder(path: Path) -> bool:
    """Whether PEFT or diffusers saved an adapter as this folder."""
    return path.is_dir() and any((path / name).exists() for name in _signs())


def _signs() -> Iterable[str]:
    return (*FOLDER_SIGNS, *(f"{name}/adapter_config.json" for name in COMPONENTS))


def _named(name: str, folder: Path | None) -> Path:
    """The file of an adapter that is called by its name."""
    known = adapters_in(folder) if folder else {}
    found = known.get(name, ())
    if len(found) > 1:
        several = " and ".join(str(each.relative_to(folder or each).with_suffix("")) for each in found[:2])
        raise CheckpointError(f"LoRA {name!r}: {folder} has several of this name; say which, as {several}")
    if found:
        return found[0]
    if name in boxed_adapters():
        return boxed_adapters()[name]
    where = (
        f"neither a file nor in {folder}" if folder else "no such file, and no folder of adapters is given"
    )
    there = [*{*known, *boxed_adapters()}]
    some = f"; there is {', '.join(sorted(there)[:12])}" if there else ""
    raise CheckpointError(f"LoRA {name!r}: {where}{some}")


def adapters_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The adapters in a folder and its folders, by their names, and by their paths within it.

    Raises:
        CheckpointError: there is no such folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder of adapters")
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in ADAPTER_FILES and file.is_file()]
    by_name = dict[str, tuple[Path, ...]]()
    for file in files:
        by_name[file.stem] = (*by_name.get(file.stem, ()), file)
    return by_name | {file.relative_to(folder).with_suffix("").as_posix(): (file,) for file in files}


def refuse_misfits(opened: OpenLora, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> tuple[str, ...]:
    """Hold an adapter against a model's shapes, by component and parameter; return what a user should know of it.

    Raises:
        CheckpointError: where a layer is of another shape, or no layer has a place.
    """
    adapter = opened.adapter
    every = [
        (component, name, change)
        for component in COMPONENTS
        for name, change in opened.changes(component).items()
    ]
    missing = [change for component, name, change in every if name not in shapes[component]]
    misfits = [
        (name, change, shapes[component][name])
        for component, name, change in every
        if name in shapes[component] and not change.fits(shapes[component][name])
    ]
    count = len(every) + len(adapter.placeless)
    layers = [*(change.layer for change in missing), *adapter.placeless]
    placeless = [f"{layer!r:.80}" for layer in layers]
    if misfits:
        name, change, shape = misfits[0]
        raise CheckpointError(
            f"{change.where} does not fit this model's {name} of {list(shape)}, nor do {len(misfits) - 1} more of "
            f"its {count} layers; it was made for another model"
        )
    if len(placeless) == count:
        raise CheckpointError(
            f"{adapter.path}: none of its {count} layers is in this model ({', '.join(placeless[:3])}, ...)"
        )
    notes = list[str]()
    if placeless:
        some = ", ".join(placeless[:3]) + (", ..." if placeless[3:] else "")
        notes.append(
            f"LoRA {opened.name}: {count - len(placeless)} of its {count} layers fit; without a place: {some}"
        )
    if adapter.unknown:
        some = ", ".join(f"{name!r:.80}" for name in adapter.unknown[:3])
        notes.append(f"LoRA {opened.name}: {len(adapter.unknown)} tensors are no part of an adapter: {some}")
    return tuple(notes)


def with_defaults_of(loras: Iterable[OpenLora], defaults: Defaults) -> Defaults:
    """A model's defaults, and over them those that adapters have that change how a model is to be asked."""
    told = dict[str, Any]()
    for lora in loras:
        told |= told_defaults(lora.adapter.metadata, lora.adapter.path)
    return replace(defaults, **told)


def changes_by(loras: Sequence[OpenLora], component: str) -> dict[str, list[tuple[Change, float]]]:
    """What adapters do together to one component."""
    found = dict[str, list[tuple[Change, float]]]()
    for lora in loras:
        strength = lora.asked.strengths[component]
        for name, change in lora.changes(component).items() if strength else ():
            found.setdefault(name, []).append((change, strength))
    return found


def with_changes(weights: LazyTensors, changes: Changes, dtype_of: DtypeOf, where: str) -> LazyTensors:
    """Weights with changes, each merged when it is asked for.

    Args:
        weights: of one component.
        changes: of parameters that are not among the weights, nothing is done.
        dtype_of: which dtype a changed weight gets, from the one it had.
        where: for messages.
    """
    specs = {
        name: Spec(dtype_of(weights.spec(name).dtype), weights.spec(name).shape)
        if name in changes
        else weights.spec(name)
        for name in weights
    }

    read_once = ReadOnce()

    def read(name: str) -> Tensor:
        weight = weights[name]
        if name not in changes:
            return weight
        result = narrowed(merged(weight, changes[name]), specs[name].dtype, name, where)
        read_once.add(weight)
        return result

    return LazyTensors(specs, read)


def as_lazy(tensors: Mapping[str, Tensor]) -> LazyTensors:
    """Tensors that are there already, as those of a file."""
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    return LazyTensors(specs, tensors.__getitem__)


@dataclass(frozen=True, eq=False)
class Plain:
    """A model as it is without adapters, from which any set of them starts anew.

    Attributes:
        weights: of "text_encoder" and "unet", as the file has them: read when they are asked for.
        defaults: its settings.
        where: for messages.
        precision: the dtype that all weights are brought to; None where each keeps its own, and computes at 16 bits.
    """

    weights: Mapping[str, LazyTensors]
    defaults: Defaults
    where: str
    precision: torch.dtype | None

    def opened(
        self, asked: Iterable[str | Path | Lora], folder: Path | None
    ) -> tuple[tuple[OpenLora, ...], tuple[str, ...]]:
        """Open adapters that fit the model, and tell what a user should know of them.

        Raises:
            CheckpointError: as `open_lora` and `refuse_misfits` do.
        """
        loras = open_loras(asked, folder)
        return loras, tuple(note for lora in loras for note in refuse_misfits(lora, self._shapes))

    @property
    def _shapes(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        shapes: dict[str, Mapping[str, tuple[int, ...]]] = {component: {} for component in COMPONENTS}
        for component, weights in self.weights.items():  # of a part of a checkpoint, not all are there
            shapes[component] = {name: weights.spec(name).shape for name in weights}
        return shapes

    def with_loras(self, loras: Sequence[OpenLora]) -> dict[str, LazyTensors]:
        """The weights of each component with adapters."""
        return {
            component: with_changes(weights, changes_by(loras, component), self._dtype, self.where)
            for component, weights in self.weights.items()
        }

    def exchanged(
        self,
        component: str,
        present: Mapping[str, Tensor],
        before: Sequence[OpenLora],
        after: Sequence[OpenLora],
    ) -> dict[str, Tensor]:
        """The tensors that a component needs in place of some it has, so that one set of adapters follows another.

        Args:
            component: "text_encoder" or "unet".
            present: the tensors that it has.
            before: the adapters that those are with.
            after: those that it shall be with.
        """
        old, new = changes_by(before, component), changes_by(after, component)
        weights = with_changes(self.weights[component], new, self._dtype, self.where)
        names = [name for name in weights if old.get(name) != new.get(name)]
        return {name: _as(present[name], weights[name], self.precision) for name in names}

    def _dtype(self, own: torch.dtype) -> torch.dtype:
        """That of a weight with changes, which had this one."""
        return self.precision or (own if own.itemsize == torch.float16.itemsize else torch.float16)


def _as(present: Tensor, tensor: Tensor, precision: torch.dtype | None) -> Tensor:
    """A tensor where another is, and laid out as that one."""
    tensor = tensor.to(present.device, precision)
    return tensor if present.is_contiguous() else tensor.contiguous(memory_format=torch.channels_last)
