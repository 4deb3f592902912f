"""What a file of weights is, told by its header, and remembered for as long as the file stays as it is."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from inkpunk.models.loras import is_adapter_folder
from inkpunk_unet import ControlNetConfig, ImagePromptConfig, T2IAdapterConfig, UNetConfig
from inkpunk_weights import (
    CheckpointError,
    LazyTensors,
    open_adapter,
    open_checkpoint,
    open_control,
    open_embedding,
    open_image_encoder,
    open_image_prompt,
)

Kind = Literal["model", "control network", "image prompt", "image encoder", "adapter", "embedding", "other"]

CHECKPOINTS = (".safetensors", ".ckpt")
WEIGHTS = (*CHECKPOINTS, ".pth", ".pt", ".bin")
FOLDER_SIGN, NETWORK_SIGN = "model_index.json", "config.json"
FOLDER_KIND = "StableDiffusion"  # pipelines of other families are passed over
MOST_REMEMBERED = 8192  # files
MARK_BEGINS, MARK_BYTES, MARK_DIGITS = 0x100000, 0x10000, 8


@dataclass(frozen=True)
class Inspected:
    """What a file or folder of weights is.

    Attributes:
        kind: "other" is what the studio has no use for, or cannot read.
        family: of a control network, "ControlNet" or "T2I-Adapter".
        widths: of the UNet that it has, or is for, at its levels; empty where that cannot be told.
        context: how wide the prompts are that this UNet reads; None likewise.
        word: of an embedding, what prompts call it.
    """

    kind: Kind
    family: str = ""
    widths: tuple[int, ...] = ()
    context: int | None = None
    word: str = ""

    def fits(self, model: "Inspected") -> bool:
        """Whether this network seems to be for a model; what cannot be told of either speaks for it."""
        if self.kind == "image prompt":
            same = not model.widths or {*self.widths} <= {*model.widths}
        else:
            same = not self.widths or not model.widths or self.widths == model.widths
        return same and (None in (self.context, model.context) or self.context == model.context)


OTHER = Inspected("other")


def inspect(path: Path) -> Inspected:
    """Tell what a file is, or a folder that is one model or one network; headers are read, and an embedding whole.

    A file of one of `CHECKPOINTS`' endings that is nothing else counts as a model, also a damaged one: who chooses it
    is told what is wrong with it.
    """
    try:
        return _inspected(path, *state_of(path))
    except (OSError, ValueError):
        return OTHER


def is_ours(folder: Path) -> bool:
    """Whether a folder is a model of diffusers that draws here."""
    with suppress(OSError, ValueError, AttributeError):
        kind = json.loads((folder / FOLDER_SIGN).read_bytes()).get("_class_name", "")
        return str(kind).startswith(FOLDER_KIND) and "XL" not in str(kind)
    return False


def unet_of(path: Path) -> Inspected:
    """A model with the shape of its UNet, which of a folder takes more than `inspect` looks at."""
    try:
        return _of_model(path, *state_of(path))
    except (OSError, ValueError):
        return Inspected("model")


def mark_of(path: Path) -> str:
    """What AUTOMATIC1111's ControlNet tells a file by, in brackets behind its name; "" for what is no file.

    It is the hash that AUTOMATIC1111 had first, of 64 KiB that begin 1 MiB within the file.
    """
    try:
        return "" if path.is_dir() else _mark(path, *state_of(path))
    except OSError:
        return ""


def state_of(path: Path) -> tuple[int, int]:
    """What changes when a file, or a folder's weights, do: when it was written, and its size."""
    if not path.is_dir():
        seen = path.stat()
        return seen.st_mtime_ns, seen.st_size
    inside = [each.stat() for each in path.iterdir() if each.suffix in (*WEIGHTS, ".json") and each.is_file()]
    return max((each.st_mtime_ns for each in inside), default=0), sum(each.st_size for each in inside)


@lru_cache(maxsize=MOST_REMEMBERED)
def _mark(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        file.seek(MARK_BEGINS)
        return hashlib.sha256(file.read(MARK_BYTES)).hexdigest()[:MARK_DIGITS]


@lru_cache(maxsize=MOST_REMEMBERED)
def _inspected(path: Path, changed: int, size: int) -> Inspected:
    if path.is_dir():
        if (path / FOLDER_SIGN).is_file():
            return Inspected("model") if is_ours(path) else OTHER
        if is_adapter_folder(path):
            return _readable(_adapter, path)
        if not (path / NETWORK_SIGN).is_file():
            return OTHER
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError as error:
        if error.found is not None:
            return _readable(READERS[error.found], path) if error.found in READERS else OTHER
        return Inspected("model") if path.suffix in CHECKPOINTS and path.is_file() else OTHER
    return _with_unet(checkpoint.unet) if path.suffix in CHECKPOINTS and path.is_file() else OTHER


@lru_cache(maxsize=MOST_REMEMBERED)
def _of_model(path: Path, changed: int, size: int) -> Inspected:
    return _with_unet(open_checkpoint(path).unet)


def _with_unet(tensors: LazyTensors) -> Inspected:
    try:
        unet = UNetConfig.from_weights(_shapes(tensors), heads=1, groups=1)
    except ValueError:
        return Inspected("model")
    return Inspected("model", "", unet.widths, unet.context_width)


def _readable(read: Callable[[Path], Inspected], path: Path) -> Inspected:
    """What it is, unless it is one for another kind of model, or not whole."""
    try:
        return read(path)
    except ValueError:  # a CheckpointError, too
        return OTHER


def _control(path: Path) -> Inspected:
    control = open_control(path)
    shapes = _shapes(control.tensors)
    if control.kind == "ControlNet":
        unet = ControlNetConfig.from_weights(shapes, heads=1, groups=1).unet
        return Inspected("control network", control.kind, unet.widths, unet.context_width)
    return Inspected("control network", control.kind, T2IAdapterConfig.from_weights(shapes).widths)


def _image_prompt(path: Path) -> Inspected:
    config = ImagePromptConfig.from_weights(_shapes(open_image_prompt(path).tensors))
    return Inspected("image prompt", "IP-Adapter", config.widths, config.context_width)


def _image_encoder(path: Path) -> Inspected:
    _ = open_image_encoder(path)
    return Inspected("image encoder", "CLIP")


def _adapter(path: Path) -> Inspected:
    _ = open_adapter(path)
    return Inspected("adapter", "LoRA")


def _embedding(path: Path) -> Inspected:
    embedding = open_embedding(path)
    return Inspected(
        "embedding", "textual inversion", context=embedding.vectors.shape[1], word=embedding.names[0]
    )


READERS: Mapping[str, Callable[[Path], Inspected]] = {
    "control network": _control,
    "image prompt": _image_prompt,
    "image encoder": _image_encoder,
    "adapter": _adapter,
    "embedding": _embedding,
}
"""By what inkpunk finds a file to be, what reads it closer."""


def _shapes(tensors: LazyTensors) -> LazyTensors:
    """Tensors of the same shapes without numbers, so that none is read."""
    specs = {name: tensors.spec(name) for name in tensors}
    return LazyTensors(specs, lambda name: torch.empty(specs[name].shape, device="meta"))
