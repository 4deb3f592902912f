"""Any one file of tensors: what it is, told by its content and not by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inkpunk_weights.errors import CheckpointError, shown_path
from inkpunk_weights.foreign import memory_told
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.limits import CHECKPOINT, Limits
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.safetensors_files import looks_like_safetensors, open_safetensors
from inkpunk_weights.torch_files import ROOTS, open_torch_file

START_BYTES = 512
SAFETENSORS = "safetensors"

STRANGERS = {  # first bytes: what it is, what to do
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    b"<": ("a web page, not weights", "the download needs a login or another address; fetch it again"),
    b"GGUF": ("a GGUF file", "get the .safetensors version of this model"),
    b"\x89HDF": ("an HDF5 (Keras) file", "get the .safetensors version of this model"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it first"),
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"Rar!": ("a RAR archive", "unpack it first"),
}


@dataclass(frozen=True)
class TensorFile:
    """What a file of tensors holds, whatever its format.

    Args:
        format: "safetensors", "ckpt (zip)" or "ckpt (legacy)".
        tensors: by the names they have in the file.
        metadata: the notes written beside them.
        imports: what a pickle would have imported; nothing is.
        root: the entry that held the tensors in a file of `torch.save`, or "" for none.
    """

    format: str
    tensors: LazyTensors
    metadata: Mapping[str, object]
    imports: tuple[str, ...] = ()
    root: str = ""


def open_tensor_file(path: Path, roots: Sequence[str] = ROOTS, limits: Limits = CHECKPOINT) -> TensorFile:
    """Open a safetensors file, or one written by `torch.save`; nothing in it is run, and only its header is
    read. Takes at most 64 MiB of memory beyond what it returns, and time linear in the file's description.

    Args:
        path: the file.
        roots: entries that may hold the dict of tensors, in a file of `torch.save`.
        limits: how much it may ask for.

    Raises:
        CheckpointError: if it is neither, damaged, or beyond `limits`.
    """
    where = shown_path(path)
    try:
        check_regular(path)
        with memory_told():
            return _open(path, where, roots, limits)
    except OSError as error:  # not there, not readable; or gone between one look and the next
        raise CheckpointError(f"{where}: cannot be read ({error.strerror})") from error


def _open(path: Path, where: str, roots: Sequence[str], limits: Limits) -> TensorFile:
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        raise CheckpointError(f"{where}: the file is empty; fetch it again")
    for magic, (what, remedy) in STRANGERS.items():
        if start.lstrip().startswith(magic):
            raise CheckpointError(f"{where}: this is {what}; {remedy}")
    if looks_like_safetensors(start):
        safe = open_safetensors(path, limits)
        return TensorFile(SAFETENSORS, safe.tensors, safe.metadata)
    torch_file = open_torch_file(path, roots, limits)
    return TensorFile(
        f"ckpt ({torch_file.format})",
        torch_file.tensors,
        torch_file.metadata,
        torch_file.imports,
        torch_file.root,
    )
