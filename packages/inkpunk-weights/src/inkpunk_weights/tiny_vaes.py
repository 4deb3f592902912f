"""Tiny autoencoders (TAESD), opened: their tensors by our names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from inkpunk_weights.components import find_components
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.folders import open_folder
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.other_models import READ, TINY_AUTOENCODER, other_model
from inkpunk_weights.tensor_files import TensorFile, open_tensor_file
from inkpunk_weights.whole import Shape, check_whole, renamed, size
from inkpunk_weights.wrappers import unwrap

TINY_VAE_FILES = (".safetensors", ".pth", ".pt", ".bin")
WHAT = "a tiny autoencoder"
WANTED = "Inkpunk previews Stable Diffusion v1, so get TAESD for that (taesd_decoder)"
HALVES = ("encoder", "decoder")
PREFIXES = ("{}.layers.", "{}.", "taesd_{}.")
"""Before the numbers of a half's layers: diffusers', its author's, and within a checkpoint."""
# A layer is a convolution, or a block of three that have activations between them.
LAYER = re.compile(r"(\d{1,2})\.(?:conv\.([024])\.)?(weight|bias)", re.ASCII)
IMAGE_CHANNELS, LATENT_CHANNELS = 3, 4
OTHER_LATENTS = {16: "Stable Diffusion 3, Flux or another model"}


@dataclass(frozen=True, eq=False)
class TinyVAEFile:
    """A tiny autoencoder, or its decoder.

    Attributes:
        path: the file or folder it was opened from.
        tensors: all of them, by `inkpunk_vae.TinyVAE`'s parameter names, complete and of shapes that belong together.
        metadata: the notes in the file.
        imports: what a pickle would have imported. Nothing is ever imported.
    """

    path: Path
    tensors: LazyTensors
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    imports: tuple[str, ...] = ()


def open_tiny_vae(path: str | PathLike[str]) -> TinyVAEFile:
    """Open a tiny autoencoder for Stable Diffusion v1 (TAESD): its decoder's file, one with both halves, or a folder.

    What a file is, is told by its content. Only headers are read; tensors are read when they are asked for. No code
    of the file runs. Takes at most 64 MiB of memory beyond what it returns, and time linear in the description. The
    tiny autoencoder of Stable Diffusion XL has the same names and shapes, and cannot be told from this one.

    Args:
        path: a file of `torch.save` or a safetensors one, by the names of its author (`taesd_decoder.pth`) or of
            diffusers; or diffusers' folder.

    Raises:
        CheckpointError: if there is nothing there, it is damaged or incomplete, or it is something else: the encoder
            alone, a tiny autoencoder for another model, a checkpoint, an adapter.
    """
    path = Path(path)
    where = shown_path(path)
    try:
        if not path.exists():
            raise CheckpointError(f"{where}: no such file or folder")
        file = _of_folder(path) if path.is_dir() else open_tensor_file(path)
    except (OSError, ValueError) as error:  # ValueError: the path holds a zero byte
        if isinstance(error, CheckpointError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise CheckpointError(f"{where}: cannot be read ({reason})") from error
    tensors = unwrap(file.tensors).tensors
    in_file = {name: full for half in HALVES for name, full in _half(where, half, tensors)}
    if not in_file:
        _refuse(path, tensors)
    known = set(in_file.values())
    if odd := [name for name in tensors if name not in known]:
        raise CheckpointError(
            f"{where}: {shown(odd[0])} is no part of {WHAT} for Stable Diffusion v1; {WANTED}"
        )
    named = renamed(tensors, in_file, {})
    if "decoder.conv_in.weight" not in named:
        raise CheckpointError(
            f"{where}: the encoder of TAESD alone; pictures are made with its decoder, so get that (taesd_decoder)"
        )
    latents = size(where, named, "decoder.conv_in.weight", 4, 1)
    if latents != LATENT_CHANNELS:
        model = OTHER_LATENTS.get(latents, "another model")
        raise CheckpointError(
            f"{where}: {WHAT} for {model}, of {latents} latent channels and not 4; {WANTED}"
        )
    check_whole(
        where, WHAT, named, in_file, _tensors(named, size(where, named, "decoder.conv_in.weight", 4, 0))
    )
    return TinyVAEFile(path, named, file.metadata, file.imports)


def _of_folder(path: Path) -> TensorFile:
    folder = open_folder(path)
    if "" not in folder.parts:
        raise CheckpointError(f"{shown_path(path)}: not {WHAT} but a checkpoint's folder", found="checkpoint")
    return folder.parts[""]


def _half(where: str, half: str, tensors: LazyTensors) -> Iterator[tuple[str, str]]:
    """Our name and the file's of each tensor of one half: layers in a row, of which a level takes several.

    Its first and last layers are convolutions, and the blocks between two convolutions are a level. In the decoder an
    activation follows the first, and an enlargement stands before each but the last; these have no tensors.
    """
    prefix = _prefix(half, tensors)
    layers: dict[int, dict[str, str]] = {}
    for name in tensors:
        found = LAYER.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if found and half == _half_of(prefix, half, tensors):
            inside = f"conv{1 + int(found[2]) // 2}." if found[2] else ""
            layers.setdefault(int(found[1]), {})[f"{inside}{found[3]}"] = name
    numbers = sorted(layers)
    convolutions = [number for number in numbers if "weight" in layers[number]]
    if len(convolutions) == len(numbers):
        return  # numbered layers of something else
    expected = numbers[0]
    level = block = 0
    for number in numbers:
        between = number in convolutions[1:-1]
        expected += half == "decoder" and between
        if number != expected:
            raise CheckpointError(
                f"{where}: is incomplete: the {half}'s layer {expected} is missing; fetch it again"
            )
        if number not in convolutions:
            module, block = f"levels.{level}.blocks.{block}", block + 1
        elif between:
            module, level, block = f"levels.{level}.resample.conv", level + 1, 0
        else:
            module = "conv_in" if number == convolutions[0] else "conv_out"
        yield from ((f"{half}.{module}.{leaf}", name) for leaf, name in layers[number].items())
        expected += 2 if half == "decoder" and number == convolutions[0] else 1


def _prefix(half: str, tensors: LazyTensors) -> str:
    prefixes = [prefix.format(half) for prefix in PREFIXES]
    return next((each for each in prefixes if any(name.startswith(each) for name in tensors)), "")


def _half_of(prefix: str, half: str, tensors: LazyTensors) -> str:
    """Which half it is: its author's files say nothing, but the decoder's first layer bounds and has no tensors."""
    if prefix:
        return half
    return "encoder" if "0.weight" in tensors else "decoder"


def _tensors(tensors: LazyTensors, width: int) -> Iterator[tuple[str, Shape]]:
    """Name and shape of each tensor of one of this width that has the same layers."""
    outer = {
        "encoder.conv_in": (width, IMAGE_CHANNELS),
        "encoder.conv_out": (LATENT_CHANNELS, width),
        "decoder.conv_in": (width, LATENT_CHANNELS),
        "decoder.conv_out": (IMAGE_CHANNELS, width),
    }
    halves = [half for half in HALVES if any(name.startswith(half) for name in tensors)]
    modules = {name.rpartition(".")[0] for name in tensors} | {
        f"{half}.{end}" for half in halves for end in ("conv_in", "conv_out")
    }
    for module in sorted(modules):
        block = re.fullmatch(r"(.+\.blocks\.\d+)\.conv\d", module)
        for each in (f"{block[1]}.conv{n}" for n in (1, 2, 3)) if block else (module,):
            outputs, inputs = outer.get(each, (width, width))
            yield f"{each}.weight", (outputs, inputs, 3, 3)
            if not each.endswith("resample.conv"):
                yield f"{each}.bias", (outputs,)


def _refuse(path: Path, tensors: LazyTensors) -> None:
    """Say what a file without one layer of a tiny autoencoder is."""
    where = shown_path(path)
    other = other_model(tensors)
    if other and other != TINY_AUTOENCODER:
        raise CheckpointError(f"{where}: not {WHAT} but {other}", found=READ.get(other))
    try:
        parts = ", ".join(name.replace("_", " ") for name in find_components(path, tensors).components)
    except CheckpointError:
        some = ", ".join(shown(name, 40) for name in list(tensors)[:3]) or "none at all"
        raise CheckpointError(
            f"{where}: not {WHAT} (TAESD): no layer of one among its {len(tensors):,} tensors ({some})"
        ) from None
    raise CheckpointError(
        f"{where}: not {WHAT} but a checkpoint of Stable Diffusion v1, or part of one ({parts})",
        found="checkpoint",
    )
