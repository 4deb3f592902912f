"""CLIP's image encoder, opened: its sizes, and its tensors by our names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from inkpunk_weights.blocks import count
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.folders import open_folder
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.names import CLIP_LAYER
from inkpunk_weights.other_models import READ, other_model
from inkpunk_weights.tensor_files import TensorFile, open_tensor_file
from inkpunk_weights.whole import Shape, check_whole, linear, norm, renamed, size

FOLDERS = ("image_encoder", "models/image_encoder")
"""Where the encoder is in a diffusers folder, and among the image prompts that were published with it."""

IMAGE_ENCODER = "CLIP's image encoder"
TOWER = "vision_model."
MODULES = {
    "embeddings.patch_embedding": "patch_embedding",
    "embeddings.position_embedding": "position_embedding",
    "pre_layrnorm": "norm_in",  # so spelled
    "post_layernorm": "norm_out",
}
OF_LAYER = {theirs: ours for ours, theirs in CLIP_LAYER.items()}
LAYER = re.compile(r"encoder\.layers\.(\d{1,3})\.(.+)", re.ASCII)
POSITIONS = re.compile(r"\.position_ids$")  # 0, 1, 2 and so on
OPEN_CLIP = re.compile(r"(visual\.)?(transformer\.resblocks|trunk\.blocks)\.")


@dataclass(frozen=True, eq=False)
class ImageEncoderFile:
    """CLIP's image encoder.

    Attributes:
        path: the file or folder it was opened from.
        tensors: all of them, by `inkpunk_clip.ImageEncoder`'s parameter names, complete and of shapes that belong
            together.
        config: the config.json beside it, parsed; empty if there is none.
        imports: what a pickle would have imported. Nothing is ever imported.
    """

    path: Path
    tensors: LazyTensors
    config: Mapping[str, object]
    imports: tuple[str, ...] = ()


def open_image_encoder(path: str | PathLike[str]) -> ImageEncoderFile:
    """Open CLIP's image encoder as transformers writes it: `CLIPVisionModelWithProjection`, or a whole `CLIPModel`.

    Only headers are read; tensors are read when they are asked for. No code of the file runs. Takes at most 64 MiB
    of memory for each file beyond what it returns, and time linear in their descriptions.

    Args:
        path: a file, its folder, or a folder with `image_encoder` or `models/image_encoder` in it.

    Raises:
        CheckpointError: if there is no such file or folder, it is damaged or incomplete, or something else.
    """
    path = Path(path)
    where = shown_path(path)
    try:
        file, config = _open(path)
    except OSError as error:
        raise CheckpointError(f"{where}: cannot be read ({error.strerror})") from error
    in_file = {ours: name for name in file.tensors if (ours := _ours(name))}
    if not in_file:
        _refuse(where, file.tensors)
    known = set(in_file.values())
    rest = [name for name in file.tensors if name.startswith(TOWER) and not POSITIONS.search(name)]
    if odd := [name for name in rest if name not in known]:
        raise CheckpointError(
            f"{where}: {shown(odd[0])} is no part of {IMAGE_ENCODER}; get another copy of it"
        )
    tensors = renamed(file.tensors, in_file, {})
    check_whole(where, IMAGE_ENCODER, tensors, in_file, _tensors(where, tensors))
    return ImageEncoderFile(path, tensors, config, file.imports)


def _open(path: Path) -> tuple[TensorFile, Mapping[str, object]]:
    if not path.exists():
        raise CheckpointError(f"{shown_path(path)}: no such file or folder")
    if not path.is_dir():
        return open_tensor_file(path), {}
    inside = next((path / name for name in FOLDERS if (path / name).is_dir()), path)
    folder = open_folder(inside)
    if "" not in folder.parts:
        raise CheckpointError(
            f"{shown_path(path)}: has no {FOLDERS[0]} among its parts ({', '.join(folder.parts)}); name the image "
            "encoder's own folder",
            found="checkpoint",
        )
    return folder.parts[""], folder.configs.get("", {})


def _ours(name: str) -> str | None:
    if name == "visual_projection.weight":
        return "projection.weight"
    if name == f"{TOWER}embeddings.class_embedding":
        return "class_embedding"
    module, _, leaf = name.removeprefix(TOWER).rpartition(".")
    if not name.startswith(TOWER):
        return None
    if found := LAYER.fullmatch(module):
        inside = OF_LAYER.get(found[2])
        return f"layers.{int(found[1])}.{inside}.{leaf}" if inside else None
    return f"{MODULES[module]}.{leaf}" if module in MODULES else None


def _refuse(where: str, tensors: LazyTensors) -> None:
    """Say what a file without one tensor of an image encoder is."""
    if any(OPEN_CLIP.match(name) for name in tensors):
        raise CheckpointError(
            f"{where}: CLIP under open_clip's names; get the one that transformers wrote, with names like "
            f"{TOWER}post_layernorm.weight"
        )
    if other := other_model(tensors):
        raise CheckpointError(f"{where}: not {IMAGE_ENCODER} but {other}", found=READ.get(other))
    some = ", ".join(shown(name, 40) for name in list(tensors)[:3]) or "none at all"
    raise CheckpointError(
        f"{where}: not CLIP's image encoder: nothing of one is among its {len(tensors):,} tensors ({some})"
    )


def _tensors(where: str, tensors: LazyTensors) -> Iterator[tuple[str, Shape]]:
    """Name and shape of each tensor of an encoder of the sizes that these, by our names, have."""
    width, patch = (size(where, tensors, "patch_embedding.weight", 4, axis) for axis in (0, 2))
    yield "class_embedding", (width,)
    yield "patch_embedding.weight", (width, 3, patch, patch)
    yield "position_embedding.weight", (size(where, tensors, "position_embedding.weight", 2, 0), width)
    feed_forward = size(where, tensors, "layers.0.feed_forward.fc1.weight", 2, 0)
    for layer in (f"layers.{i}" for i in range(count(tensors, r"layers\.(\d+)\."))):
        for each in ("norm1", "norm2"):
            yield from norm(f"{layer}.{each}", width)
        for each in ("query", "key", "value", "out"):
            yield from linear(f"{layer}.attention.{each}", width, width)
        yield from linear(f"{layer}.feed_forward.fc1", width, feed_forward)
        yield from linear(f"{layer}.feed_forward.fc2", feed_forward, width)
    for each in ("norm_in", "norm_out"):
        yield from norm(each, width)
    projection = size(where, tensors, "projection.weight", 2, 0)
    yield from linear("projection", width, projection, bias=False)
