"""Textual inversion embeddings: words that are learned as vectors, a file each."""

import json
import re
import stat
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_weights.components import find_components
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.limits import EMBEDDING as LIMITS
from inkpunk_weights.other_models import EMBEDDING, READ, other_model
from inkpunk_weights.tensor_files import SAFETENSORS, TensorFile, open_tensor_file

EMBEDDING_FILES = (".pt", ".bin", ".safetensors")
MOST_VECTORS = 75  # what a chunk of a prompt holds between its two marks
MOST_BYTES = 16 << 20  # of a file: 75 vectors of 1,280 float32 take 0.4 MB
MOST_CHARACTERS = 200  # of a name
STEPS = range(1 << 63)

ROOT = "string_to_param"  # where the original code and its heirs keep the vectors
NAMELESS = ("emb_params", "clip_l")  # keys of files that leave it to their own name what the word is
SEVERAL_ENCODERS = ("clip_g", "t5xxl", "t5")  # keys beside clip_l in files for Stable Diffusion XL and later
STOCK_STEM = re.compile(r"learned_embeds([-_. ].*)?|embeddings?|model|(diffusion_)?pytorch_model")


@dataclass(frozen=True, eq=False)
class Embedding:
    """A learned word.

    Attributes:
        path: the file it was read from.
        names: what a prompt may call it, at least one: the file's stem, then the names that the file itself
            gives, where they differ. A stem that says nothing, such as "learned_embeds", gives way to those.
        vectors: what the text encoder reads in its place, a copy of its own in float32, on the CPU; finite.
        step: how long it was trained, if the file says so.
        model: which checkpoint it was trained on, if the file says so.
    """

    path: Path
    names: tuple[str, ...]
    vectors: Float[Tensor, "vectors width"]
    step: int | None = None
    model: str | None = None


def open_embedding(path: str | PathLike[str]) -> Embedding:
    """Read a textual inversion embedding: AUTOMATIC1111's `.pt`, diffusers' `learned_embeds`, or safetensors.

    What a file is, is told by its content. No code of it runs. Its width is not compared with any model's.

    Args:
        path: a file of one embedding.

    Raises:
        CheckpointError: if there is no such file, it is damaged, it is something else than one embedding, or
            no text encoder could use it.
    """
    path = Path(path)
    where = shown_path(path)
    _check_file(path, where)
    file = open_tensor_file(path, (ROOT,), LIMITS)
    key = _the_one(where, file.tensors)
    _check_shape(f"{where}: tensor {shown(key)}", file.tensors.spec(key))
    vectors = _float32(file.tensors[key])
    # Both are NaN if any number is, and are found without a copy, which isfinite would make.
    low, high = torch.aminmax(vectors)
    if not (low.isfinite() and high.isfinite()):
        raise CheckpointError(f"{where}: holds NaN or infinity in float32; get another copy of it")
    step = _note(file, "step")
    return Embedding(
        path=path,
        names=_names(where, path.stem, _note(file, "name"), None if key in NAMELESS else key),
        vectors=vectors,
        step=step if type(step) is int and step in STEPS else None,
        model=_name(_note(file, "sd_checkpoint_name")),
    )


def _check_file(path: Path, where: str) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: the path holds a zero byte
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise CheckpointError(f"{where}: cannot be read ({reason})") from None
    if stat.S_ISDIR(found.st_mode):
        raise CheckpointError(f"{where}: a folder; name the file of one embedding in it")
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{where}: not a file")
    if found.st_size > MOST_BYTES:
        raise CheckpointError(
            f"{where}: takes {found.st_size:,} bytes, and an embedding less than {MOST_BYTES:,}; this looks like "
            "a LoRA or a whole checkpoint, not a textual inversion embedding",
            found=_larger(path),
        )


def _larger(path: Path) -> str | None:
    """What a file is that is too large for an embedding."""
    try:
        tensors = open_tensor_file(path).tensors
        other = other_model(tensors)
        return READ.get(other) if other else find_components(path, tensors) and "checkpoint"
    except CheckpointError:
        return None


def _the_one(where: str, tensors: LazyTensors) -> str:
    """The name of the only tensor of an embedding."""
    there = ", ".join(shown(name, 30) for name in list(tensors)[:5]) or "nothing"
    if any(name in tensors for name in SEVERAL_ENCODERS):
        raise CheckpointError(
            f"{where}: an embedding for Stable Diffusion XL or a later model ({there}); use one made for "
            "Stable Diffusion v1"
        )
    if len(tensors) == 1:
        return next(iter(tensors))
    other = other_model(tensors)
    if other not in (None, EMBEDDING):
        raise CheckpointError(
            f"{where}: not a textual inversion embedding but {other}", found=READ.get(other)
        )
    raise CheckpointError(
        f"{where}: not one textual inversion embedding; it holds {len(tensors):,} tensors ({there}), and should "
        "hold one. Save each word to a file of its own"
    )


def _check_shape(tensor: str, spec: Spec) -> None:
    if not spec.dtype.is_floating_point:
        raise CheckpointError(
            f"{tensor} is {spec.dtype}, and an embedding is floating-point; get it in float32"
        )
    if len(spec.shape) not in (1, 2):
        raise CheckpointError(
            f"{tensor} has {len(spec.shape):,} dimensions, and a textual inversion embedding has two, (vectors, "
            "width); this is something else"
        )
    if not spec.numel:
        raise CheckpointError(f"{tensor} has shape {spec.shape}, which is no vector at all; get another copy")
    if len(spec.shape) > 1 and spec.shape[0] > MOST_VECTORS:
        raise CheckpointError(
            f"{tensor} has {spec.shape[0]:,} vectors, and a prompt has room for {MOST_VECTORS}; use an embedding "
            "of fewer"
        )


def _float32(tensor: Tensor) -> Float[Tensor, "vectors width"]:
    """A copy of one vector or several, made in one go whatever its dtype and layout."""
    rows = tensor.unsqueeze(0) if tensor.ndim == 1 else tensor
    return torch.empty(rows.shape, dtype=torch.float32).copy_(rows)


def _note(file: TensorFile, key: str) -> object:
    """What is written beside the vectors. In safetensors it can only be text, which ai-toolkit makes by JSON."""
    note = file.metadata.get(key)
    if file.format != SAFETENSORS or not isinstance(note, str) or len(note) > MOST_CHARACTERS:
        return note
    try:
        return json.loads(note)
    except ValueError:
        return note


def _names(where: str, stem: str, *said: object) -> tuple[str, ...]:
    """The names that a prompt can hold, each once."""
    own = [name for name in map(_name, said) if name]
    first = _name(stem)
    names = [first, *own] if first and not (own and STOCK_STEM.fullmatch(first)) else own
    if not names:
        raise CheckpointError(f"{where}: has no name that a prompt could hold; rename the file")
    return tuple(dict.fromkeys(names))


def _name(text: object) -> str | None:
    """A stranger's name for something, if it is one that can be written, read and told from other text."""
    if not isinstance(text, str):
        return None
    name = text.strip()
    return name if 0 < len(name) <= MOST_CHARACTERS and name.isprintable() and name != "*" else None
