"""An image prompt (IP-Adapter), opened: what it is, and its tensors by our names."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from torch import Tensor

from inkpunk_weights.components import find_components
from inkpunk_weights.embeddings import open_embedding
from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.image_prompts.names import (
    ATTENTION,
    OTHER_CONTEXTS,
    PLAIN,
    PLUS,
    PROJECTION,
    QUERIES,
    other_kind,
    ours_of,
    tensors_of,
)
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.other_models import EMBEDDING, IMAGE_ENCODER, READ, other_model
from inkpunk_weights.tensor_files import TensorFile, open_tensor_file
from inkpunk_weights.whole import check_whole, renamed, size

IMAGE_PROMPT_FILES = (".safetensors", ".bin", ".pt")


@dataclass(frozen=True, eq=False)
class ImagePromptFile:
    """An image prompt.

    Attributes:
        path: the file it was opened from.
        kind: "plain", which sees a picture's embedding, or "plus", which sees its patches.
        tensors: all of its network's, by `inkpunk_unet.ImagePrompt`'s parameter names, complete and of shapes that
            belong together.
        metadata: the notes in the file.
        imports: what a pickle would have imported. Nothing is ever imported.
    """

    path: Path
    kind: str
    tensors: LazyTensors
    metadata: Mapping[str, object]
    imports: tuple[str, ...] = ()


def open_image_prompt(path: str | PathLike[str]) -> ImagePromptFile:
    """Open an image prompt for Stable Diffusion v1: ip-adapter_sd15, its light and vit-G versions, and
    ip-adapter-plus_sd15 with its face version, as safetensors or written by `torch.save`.

    What a file is, is told by its content. Only headers are read; tensors are read when they are asked for. No code
    of the file runs. Takes at most 64 MiB of memory beyond what it returns, and time linear in the description.

    Args:
        path: the file.

    Raises:
        CheckpointError: if there is no such file, it is damaged or incomplete, or it is something else: a checkpoint,
            an adapter, an image prompt of another kind or for another model.
    """
    path = Path(path)
    where = shown_path(path)
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a folder around it is closed
        raise CheckpointError(f"{where}: cannot be read ({error.strerror})") from error
    if is_folder:
        raise CheckpointError(f"{where}: a folder; name the file of one image prompt in it")
    file = _flat(path)
    _refuse_others(path, where, file.tensors)
    return _whole(path, where, file)


def _flat(path: Path) -> TensorFile:
    """The file's tensors by the names they have in safetensors; in a file of `torch.save` there are two dicts."""
    try:
        first = open_tensor_file(path, (PROJECTION,))
    except CheckpointError:
        if _is_embedding(path):  # AUTOMATIC1111's have their tensor deeper than any image prompt
            raise CheckpointError(
                f"{shown_path(path)}: not an image prompt but {EMBEDDING}", found=READ[EMBEDDING]
            ) from None
        raise
    if first.root != PROJECTION:
        return first
    second = open_tensor_file(path, (ATTENTION,))
    if second.root != ATTENTION:
        raise CheckpointError(
            f"{shown_path(path)}: has no {ATTENTION!r} beside {PROJECTION!r}; fetch it again"
        )
    halves = {PROJECTION: first.tensors, ATTENTION: second.tensors}
    specs = {f"{half}.{name}": tensors.spec(name) for half, tensors in halves.items() for name in tensors}

    def read(name: str) -> Tensor:
        half, _, rest = name.partition(".")
        return halves[half][rest]

    return TensorFile(first.format, LazyTensors(specs, read), first.metadata, first.imports)


def _is_embedding(path: Path) -> bool:
    try:
        open_embedding(path)
    except CheckpointError:
        return False
    return True


def _refuse_others(path: Path, where: str, tensors: LazyTensors) -> None:
    """Refuse what is no image prompt at all, and those of other kinds."""
    if not any(name.startswith((f"{PROJECTION}.", f"{ATTENTION}.")) for name in tensors):
        if other := other_model(tensors):
            raise CheckpointError(f"{where}: not an image prompt but {other}", found=READ.get(other))
        try:
            found = find_components(path, tensors)
        except CheckpointError as error:
            if error.found == READ[IMAGE_ENCODER]:
                raise CheckpointError(
                    f"{where}: not an image prompt but {IMAGE_ENCODER}", found=error.found
                ) from None
            some = ", ".join(shown(name, 40) for name in list(tensors)[:3]) or "none at all"
            raise CheckpointError(
                f"{where}: not an image prompt: neither {PROJECTION} nor {ATTENTION} is among its {len(tensors):,} "
                f"tensors ({some})"
            ) from None
        parts = ", ".join(name.replace("_", " ") for name in found.components)
        raise CheckpointError(
            f"{where}: not an image prompt but a checkpoint of Stable Diffusion v1, or part of one ({parts})",
            found="checkpoint",
        )
    if kind := other_kind(tensors):
        raise CheckpointError(
            f"{where}: {kind}; Inkpunk reads ip-adapter_sd15, ip-adapter_sd15_light and ip-adapter-plus_sd15"
        )


def _whole(path: Path, where: str, file: TensorFile) -> ImagePromptFile:
    in_file: dict[str, str] = {}
    for name in file.tensors:
        ours = ours_of(name)
        if ours is None:
            raise CheckpointError(
                f"{where}: {shown(name)} is in no image prompt that Inkpunk reads; it reads ip-adapter_sd15, "
                "ip-adapter_sd15_light and ip-adapter-plus_sd15"
            )
        if in_file.setdefault(ours, name) != name:
            raise CheckpointError(
                f"{where}: {shown(name)} and {shown(in_file[ours])} are one tensor; get another copy of it"
            )
    shapes: dict[str, tuple[int, ...]] = {}
    kind = PLUS if QUERIES in in_file else PLAIN
    if kind == PLUS and len(shape := file.tensors.spec(in_file[QUERIES]).shape) == 3 and shape[0] == 1:
        shapes[QUERIES] = shape[1:]  # they stand in files as a batch of one
    tensors = renamed(file.tensors, in_file, shapes)
    if model := OTHER_CONTEXTS.get(size(where, tensors, "keys.0.weight", 2, 1)):
        raise CheckpointError(
            f"{where}: an image prompt for {model}; Inkpunk draws with Stable Diffusion v1, so get one made for "
            "that, such as ip-adapter_sd15"
        )
    check_whole(where, f"a {kind} image prompt", tensors, in_file, tensors_of(where, kind, tensors))
    return ImagePromptFile(path, kind, tensors, file.metadata, file.imports)
