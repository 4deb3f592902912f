"""Writes checkpoints in the layouts that other tools load."""

import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal, get_args

import torch
from torch import Tensor

from inkpunk_weights.anatomy import Anatomy, anatomy_of
from inkpunk_weights.atomic import new_file, new_folder
from inkpunk_weights.components import COMPONENTS, ldm_shape
from inkpunk_weights.diffusers_configs import SCHEDULER, Config, component_config, model_index, undivided
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.folders import CONFIG_FILES, MODEL_INDEX
from inkpunk_weights.foreign import callbacks_told
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.leftovers import SCRATCH
from inkpunk_weights.names import DIFFUSERS, LDM, OUR_BLOCKS, Dialect, Names
from inkpunk_weights.narrowing import narrowed
from inkpunk_weights.safetensors_files import open_safetensors, write_safetensors

Layout = Literal["single-file safetensors", "single-file ckpt", "diffusers folder"]
Named = Mapping[str, Tensor]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WEIGHT_FILES = {
    "text_encoder": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


def save_checkpoint(
    path: str | PathLike[str],
    *,
    text_encoder: Named | None = None,
    unet: Named | None = None,
    vae: Named | None = None,
    layout: Layout = "single-file safetensors",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    configs: Mapping[str, Config] | None = None,
    extra_files: Mapping[str, bytes] | None = None,
    signs: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write components under the names that other tools expect.

    Tensors are read, converted and written one at a time. What is written appears at `path` when all of it is
    on the disk; an interruption leaves nothing behind.

    Args:
        path: the file or folder to write.
        text_encoder: tensors by our names, such as `Checkpoint.text_encoder` or a `state_dict()`; None or
            empty for none.
        unet: as `text_encoder`.
        vae: as `text_encoder`.
        layout: "single-file safetensors" and "single-file ckpt" have LDM's names, "diffusers folder"
            diffusers'.
        dtype: convert to this dtype (rounding to nearest); None keeps each tensor's own.
        metadata: notes for the header of safetensors files, or beside the tensors of a ckpt.
        configs: for a folder, entries of the config.json of "text_encoder", "unet", "vae", and of the
            "scheduler", over SD v1.5's (one that names its class is written as it is): what shapes cannot tell
            (`attention_head_dim`, `norm_num_groups`, `num_attention_heads`) goes here, and must where the
            widths do not divide by SD v1.5's.
        extra_files: for a folder, further files by relative name: a tokenizer's, without which diffusers'
            pipeline wants one from its caller.
        signs: for a single file, names of empty tensors beside the components', by which programs mark what they
            cannot tell otherwise, such as "v_pred".
        overwrite: replace what is at `path`.

    Raises:
        CheckpointError: if something is at `path`, or tensors are missing, unknown or misshapen, or widths do not
            divide by the heads or groups of a folder's configs: nothing is written.
    """
    path = Path(path)
    if layout not in get_args(Layout):
        raise CheckpointError(
            f"{shown_path(path)}: there is no layout {layout!r}; choose from {', '.join(get_args(Layout))}"
        )
    if dtype is not None and dtype not in DTYPES:
        raise CheckpointError(
            f"{shown_path(path)}: weights cannot be {dtype}; choose torch.float16, bfloat16, float32 or float64"
        )
    given = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
    named = {name: tensors for name in COMPONENTS if (tensors := given[name])}
    anatomies = _checked(path, named)
    dialects = {
        dialect.component: dialect for dialect in (DIFFUSERS if layout == "diffusers folder" else LDM)
    }
    parts = {name: _renamed(tensors, dialects[name], dtype, str(path)) for name, tensors in named.items()}
    notes, configs, extra_files = dict(metadata or {}), configs or {}, extra_files or {}
    if layout == "diffusers folder" and signs:
        raise CheckpointError(
            f"{shown_path(path)}: a folder says in its configs what {shown(signs[0])} would be a sign of"
        )
    if layout == "diffusers folder":
        files = _small_files(path, parts, anatomies, configs, extra_files)
        with new_folder(path, mark=MODEL_INDEX, overwrite=overwrite) as folder:
            _write_folder(folder, parts, files, notes)
    elif configs or extra_files:
        raise CheckpointError(
            f"{shown_path(path)}: a single file has no room for configs or extra files; save a diffusers folder"
        )
    else:
        write = write_safetensors if layout == "single-file safetensors" else _write_ckpt
        with new_file(path, overwrite=overwrite) as file:
            write(file, _together({**parts, "signs": _empty(signs)}), notes)


def _checked(path: Path, named: Mapping[str, Named]) -> dict[str, Anatomy]:
    """The anatomy of each component; refuses, all at once, what no other tool could load."""
    anatomies: dict[str, Anatomy] = {}
    problems: list[str] = []
    for component, tensors in named.items():
        shapes = {name: _spec(tensors, name).shape for name in tensors}
        anatomies[component] = anatomy_of(component, shapes)
        expected = dict(anatomies[component].tensors())
        problems += [f"{component} lacks {name}" for name in expected if name not in shapes]
        problems += [
            f"{component} has no tensor called {shown(name)}" for name in shapes if name not in expected
        ]
        problems += [
            f"{component}'s {name} is {list(shapes[name])}, expected {list(shape)}"
            for name, shape in expected.items()
            if shapes.get(name, shape) != shape
        ]
    if problems:
        raise CheckpointError(f"{shown_path(path)}: not written, it would be broken: {'; '.join(problems)}")
    if not anatomies:
        raise CheckpointError(f"{shown_path(path)}: nothing to write; give a text encoder, a UNet or a VAE")
    return anatomies


def _spec(tensors: Named, name: str) -> Spec:
    if isinstance(tensors, LazyTensors):
        return tensors.spec(name)
    return Spec(tensors[name].dtype, tuple(tensors[name].shape))


def _renamed(tensors: Named, dialect: Dialect, dtype: torch.dtype | None, where: str) -> LazyTensors:
    """`tensors` as the file shall have them: its names, shapes and dtype, each made when it is asked for."""
    names = Names(dialect, OUR_BLOCKS[dialect.component](tensors))
    ours = {f"{dialect.prefixes[0]}{names.theirs(name)}": name for name in tensors}

    def wanted(name: str) -> Spec:
        spec = _spec(tensors, ours[name])
        return Spec(dtype or spec.dtype, ldm_shape(ours[name], spec.shape) if dialect in LDM else spec.shape)

    specs = {name: wanted(name) for name in ours}

    def read(name: str) -> Tensor:
        spec = specs[name]
        return narrowed(tensors[ours[name]].detach().cpu(), spec.dtype, name, where).reshape(spec.shape)

    return LazyTensors(specs, read)


def _empty(names: Sequence[str]) -> LazyTensors:
    return LazyTensors(dict.fromkeys(names, Spec(torch.float32, (0,))), lambda _: torch.empty(0))


def _together(parts: Mapping[str, LazyTensors]) -> LazyTensors:
    owner = {name: tensors for tensors in parts.values() for name in tensors}
    return LazyTensors({name: owner[name].spec(name) for name in owner}, lambda name: owner[name][name])


def _write_ckpt(file: BinaryIO, tensors: LazyTensors, notes: Mapping[str, str]) -> None:
    """Write what `torch.save` writes.

    It wants all tensors at once, so they are mapped from a scratch safetensors file, which holds no memory.
    """
    if "state_dict" in notes:
        raise CheckpointError('metadata of a ckpt cannot be called "state_dict"; choose another name')
    with TemporaryDirectory(prefix=".inkpunk-", dir=Path(file.name).parent) as folder:
        scratch = Path(folder) / SCRATCH
        with scratch.open("wb") as opened:
            write_safetensors(opened, tensors, {})
        with callbacks_told():
            torch.save({"state_dict": dict(open_safetensors(scratch).tensors), **notes}, file)


def _small_files(
    path: Path,
    parts: Mapping[str, LazyTensors],
    anatomies: Mapping[str, Anatomy],
    configs: Mapping[str, Config],
    extra_files: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Everything in a folder but the weights, by relative name."""
    if unknown := sorted(set(configs).difference(CONFIG_FILES)):
        raise CheckpointError(
            f"{shown_path(path)}: no config is called {shown(unknown[0])}; there are {', '.join(CONFIG_FILES)}"
        )
    scheduler = configs.get("scheduler") or {}
    if "_class_name" not in scheduler:
        scheduler = {**SCHEDULER, **scheduler}
    tokenizer = any(name.startswith("tokenizer/") for name in extra_files)
    jsons = {
        MODEL_INDEX: model_index(anatomies, scheduler, tokenizer),
        f"scheduler/{CONFIG_FILES['scheduler']}": scheduler,
    }
    problems = dict[str, dict[str, str]]()
    for name, anatomy in anatomies.items():
        config = dict(component_config(anatomy)) | dict(configs.get(name, {}))
        jsons[f"{name}/{CONFIG_FILES[name]}"] = config
        if wrong := undivided(anatomy, config):
            problems[name] = wrong
    if problems:
        raise CheckpointError(_unloadable(path, problems))
    if "text_encoder" in parts:  # transformers loads in the dtype that this file says
        config = {
            key: value for key, value in jsons["text_encoder/config.json"].items() if key != "torch_dtype"
        }
        dtype = parts["text_encoder"].spec(next(iter(parts["text_encoder"]))).dtype
        jsons["text_encoder/config.json"] = config | {"dtype": str(dtype).removeprefix("torch.")}
    taken = {*jsons, *(f"{name}/{WEIGHT_FILES[name]}" for name in parts)}
    for name in extra_files:
        if name in taken or not all(re.fullmatch(r"\w[\w.-]*", part) for part in name.split("/")):
            raise CheckpointError(
                f"{shown_path(path)}: an extra file cannot be called {shown(name)}; choose another name in the folder"
            )
    return {name: json.dumps(value, indent=2).encode() for name, value in jsons.items()} | dict(extra_files)


def _unloadable(path: Path, problems: Mapping[str, Mapping[str, str]]) -> str:
    """What to say of configs that contradict their component's widths."""
    what = "; ".join(f"{name}'s {wrong}" for name, keys in problems.items() for wrong in keys.values())
    keys = ", ".join(
        f"{name!r}: {{{', '.join(f'{key!r}: ...' for key in keys)}}}" for name, keys in problems.items()
    )
    return (
        f"{shown_path(path)}: not written, no program could load it: {what}; say what it was trained with: "
        f"configs={{{keys}}}"
    )


def _write_folder(
    folder: Path, parts: Mapping[str, LazyTensors], files: Mapping[str, bytes], notes: Mapping[str, str]
) -> None:
    for name in (*files, *(f"{name}/{WEIGHT_FILES[name]}" for name in parts)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with new_file(folder / name) as file:
            file.write(content)
    for name, tensors in parts.items():
        with new_file(folder / name / WEIGHT_FILES[name]) as file:
            write_safetensors(file, tensors, notes)
