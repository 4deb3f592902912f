"""Folders as diffusers writes them: a subfolder per component, each with a config.json and weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from inkpunk_weights.components import COMPONENTS
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.json_texts import MOST_JSON_BYTES, JSONError, parse_json
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.tensor_files import TensorFile, open_tensor_file

MODEL_INDEX = "model_index.json"
CONFIG_FILES = dict.fromkeys(COMPONENTS, "config.json") | {"scheduler": "scheduler_config.json"}

WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>\w+))?\.(?P<kind>safetensors|bin)"
)
SHARDS = re.compile(  # older diffusers has the variant in front of "index"
    r"(?:diffusion_pytorch_model|pytorch_model|model)\.(?P<kind>safetensors|bin)"
    r"(?:\.index(?:\.(?P<variant>\w+))?|\.(?P<old_variant>\w+)\.index)\.json"
)
SHARD = re.compile(r".+-\d{5}-of-\d{5}(\.\w+)?\.(safetensors|bin)")
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth")


@dataclass(frozen=True)
class Folder:
    """Sets of tensors and configs by the subfolder they are in ("" for the folder itself)."""

    parts: Mapping[str, TensorFile]
    configs: Mapping[str, Mapping[str, object]]


def open_folder(path: Path, *, variant: str | None = None) -> Folder:
    """Open a diffusers folder, or a folder that holds one component; reads configs, indexes and headers only.

    Takes at most 64 MiB of memory for each of these files beyond what it returns, and time linear in them.

    Args:
        path: the folder.
        variant: "fp16" takes `*.fp16.safetensors`; None takes the plain files, or the only variant there is.

    Raises:
        CheckpointError: if there are no weights, or a file in it is damaged.
    """
    where = {name: path / name for name in COMPONENTS if (path / name).is_dir()} or {"": path}
    choices = {name: _weights(folder) for name, folder in where.items()}
    if variant is not None and not any(variant in choice for choice in choices.values()):
        there = sorted({str(v) for choice in choices.values() for v in choice if v is not None})
        raise CheckpointError(
            f"{shown_path(path)}: has no variant {shown(variant)}; there is {', '.join(there) or 'none'}"
        )
    for name, choice in choices.items():
        if not choice:
            raise CheckpointError(_nothing_in(where[name]))
    parts = {name: _open_weights(_choose(where[name], choices[name], variant)) for name in where}
    configs = {
        name: _read_json(file)
        for name in where
        if (file := where[name] / CONFIG_FILES.get(name, "config.json")).exists()
    }
    scheduler = path / "scheduler" / CONFIG_FILES["scheduler"]
    return Folder(parts, configs | ({"scheduler": _read_json(scheduler)} if scheduler.exists() else {}))


def _weights(folder: Path) -> dict[str | None, Path]:
    """The file to open for each variant: safetensors before pickles, one file before shards."""
    found: dict[str | None, tuple[int, Path]] = {}
    for file in sorted(folder.iterdir()):
        for rank, pattern in enumerate((WEIGHTS, SHARDS)):
            if match := pattern.fullmatch(file.name):
                named = match.groupdict()
                variant = named["variant"] or named.get("old_variant")
                preference = rank + 2 * (named["kind"] == "bin")
                best = found.get(variant)
                if best is None or preference < best[0]:
                    found[variant] = (preference, file)
    return {variant: file for variant, (_, file) in found.items()}


def _choose(folder: Path, choice: Mapping[str | None, Path], variant: str | None) -> Path:
    for wanted in (variant, None):
        if wanted in choice:
            return choice[wanted]
    if len(choice) > 1:
        names = ", ".join(sorted(str(name) for name in choice))
        raise CheckpointError(
            f"{shown_path(folder)}: has several variants ({names}); choose one with `variant`"
        )
    return next(iter(choice.values()))


def _nothing_in(folder: Path) -> str:
    if shards := sorted(file.name for file in folder.iterdir() if SHARD.fullmatch(file.name)):
        return (
            f"{shown_path(folder)}: has shards ({shown(shards[0])}, ...) but not their index, a file such as "
            "diffusion_pytorch_model.safetensors.index.json; fetch it, too"
        )
    singles = sorted(file.name for file in folder.iterdir() if file.suffix in SINGLE_FILES)
    if singles:
        listed = ", ".join(shown(name) for name in singles[:3])
        return f"{shown_path(folder)}: not a diffusers folder; open the file in it: {listed}"
    subfolders = {file.name for file in folder.iterdir() if file.is_dir()}
    if "transformer" in subfolders or "prior" in subfolders:
        return (
            f"{shown_path(folder)}: this is Stable Diffusion 3, Flux or another model; this loads Stable "
            "Diffusion v1"
        )
    return (
        f"{shown_path(folder)}: no weights here; a diffusers folder has unet/diffusion_pytorch_model.safetensors "
        "and its like in vae/ and text_encoder/"
    )


def _open_weights(file: Path) -> TensorFile:
    return _open_shards(file) if file.suffix == ".json" else open_tensor_file(file)


def _open_shards(index: Path) -> TensorFile:
    weight_map = _read_json(index).get("weight_map")
    named = cast("dict[str, object]", weight_map) if isinstance(weight_map, dict) else {}
    file_of = {tensor: name for tensor, name in named.items() if isinstance(name, str)}
    if not file_of or len(file_of) < len(named):
        raise CheckpointError(f'{shown_path(index)}: no "weight_map" from tensor to file; fetch it again')
    shards: dict[str, TensorFile] = {}
    for name in sorted(set(file_of.values())):
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name or Path(name).is_absolute():
            raise CheckpointError(
                f"{shown_path(index)}: names a shard outside its folder ({shown(name)}); do not trust this model"
            )
        if (
            not name.isprintable()
        ):  # a line break, or half a surrogate pair, with which no file can be asked for
            raise CheckpointError(
                f"{shown_path(index)}: names a shard {shown(name)}, as no file is called; fetch it again"
            )
        shards[name] = open_tensor_file(index.parent / name)
    if absent := [tensor for tensor, name in file_of.items() if tensor not in shards[name].tensors]:
        first = shown(absent[0])
        raise CheckpointError(
            f"{shown_path(index)}: {len(absent)} tensors, first {first}, are not in their shards; fetch it again"
        )
    if extra := [tensor for shard in shards.values() for tensor in shard.tensors if tensor not in file_of]:
        first = shown(extra[0])
        raise CheckpointError(
            f"{shown_path(index)}: {len(extra)} tensors, first {first}, are in shards only; fetch it again"
        )

    def read(tensor: str) -> Tensor:
        return shards[file_of[tensor]].tensors[tensor]

    specs = {tensor: shards[name].tensors.spec(tensor) for tensor, name in file_of.items()}
    metadata = {key: value for shard in shards.values() for key, value in shard.metadata.items()}
    imports = tuple(sorted({name for shard in shards.values() for name in shard.imports}))
    return TensorFile(next(iter(shards.values())).format, LazyTensors(specs, read), metadata, imports)


def _read_json(file: Path) -> Mapping[str, object]:
    """An object of JSON. Takes at most 64 MiB of memory, and time linear in the file."""
    where = shown_path(file)
    try:
        check_regular(file)
        with file.open("rb") as opened:
            value = parse_json(opened.read(MOST_JSON_BYTES + 1))
    except OSError as error:
        raise CheckpointError(f"{where}: cannot be read ({error.strerror})") from error
    except JSONError as error:
        raise CheckpointError(f"{where}: {error}; fetch it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: not a JSON object; fetch it again")
    return cast("dict[str, object]", value)
