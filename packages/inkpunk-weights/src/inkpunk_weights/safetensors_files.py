"""Safetensors files: read by memory mapping, written one tensor at a time.

The format: eight bytes with the header's length, the header (JSON: name to dtype, shape and place), the
tensors' bytes.
"""

import ctypes
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.foreign import interrupts_deferred, memory_told
from inkpunk_weights.json_texts import JSONError, parse_json
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.limits import CHECKPOINT, Limits
from inkpunk_weights.regular_files import check_regular

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
LENGTH_BYTES = 8
ALIGNMENT = 8
METADATA = "__metadata__"


@dataclass(frozen=True)
class SafetensorsFile:
    """What a safetensors file holds."""

    tensors: LazyTensors
    metadata: Mapping[str, str]


def looks_like_safetensors(start: bytes) -> bool:
    """Whether a file with these first bytes can only be meant as safetensors."""
    return len(start) > LENGTH_BYTES and start[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{"


def open_safetensors(path: Path, limits: Limits = CHECKPOINT) -> SafetensorsFile:
    """Open a safetensors file; its tensors are views of the mapped file and cost no memory until they are
    used.

    Takes at most 64 MiB of memory beyond what it returns, and time linear in the header.

    Args:
        path: the file.
        limits: how much its header may ask for.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CheckpointError: if the file is damaged, or holds what this package does not understand.
    """
    where = shown_path(path)
    check_regular(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > limits.description:
            raise CheckpointError(
                f"{where}: its header takes {length:,} bytes, and we read at most {limits.description:,}; fetch it "
                "again, or save it without the notes in it"
            )
        text = file.read(length)
    header = _header(where, text)
    try:  # checks that the tensors' places are of the right size and cover the file exactly
        with memory_told():
            mapped: Any = safe_open(path, framework="pt")
    except FileNotFoundError as error:  # it was there a moment ago
        raise CheckpointError(f"{where}: gone while it was read") from error
    except (SafetensorError, OSError) as error:
        _refuse_metadata(where, header)
        raise CheckpointError(
            f"{where}: damaged safetensors file ({_line(error)}); fetch it again"
        ) from error
    metadata: dict[str, str] = header.pop(METADATA, None) or {}
    if {*mapped.keys()} != {*header}:
        raise CheckpointError(f"{where}: changed while it was read; try again")
    specs = {name: _spec(where, name, entry) for name, entry in header.items()}

    def read(name: str) -> Tensor:
        try:
            with interrupts_deferred(), memory_told():
                return mapped.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where}: tensor {shown(name)} cannot be read ({_line(error)})") from error

    return SafetensorsFile(LazyTensors(specs, read), metadata)


def write_safetensors(file: BinaryIO, tensors: LazyTensors, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, reading one tensor at a time.

    The library's own writer wants all tensors at once, which converting a checkpoint to another dtype cannot
    give without holding it all.

    Args:
        file: where to write, at its start.
        tensors: what to write.
        metadata: kept in the header; `{"format": "pt"}` is added, without which other readers refuse the
            file.
    """
    names = sorted(tensors, key=lambda name: -tensors.spec(name).dtype.itemsize)  # keeps every tensor aligned
    header: dict[str, object] = {METADATA: {"format": "pt", **metadata}}
    place = 0
    for name in names:
        spec = tensors.spec(name)
        if spec.dtype not in DTYPE_NAMES:
            raise CheckpointError(
                f"tensor {shown(name)} is {spec.dtype}, which safetensors files cannot hold"
            )
        places = (place, place := place + spec.bytes)
        header[name] = {"dtype": DTYPE_NAMES[spec.dtype], "shape": spec.shape, "data_offsets": places}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
    for name in names:
        tensor, spec = tensors[name].contiguous(), tensors.spec(name)
        if (tensor.dtype, tuple(tensor.shape)) != (spec.dtype, spec.shape):
            raise CheckpointError(f"tensor {shown(name)} is not as its file says; fetch that file again")
        if spec.bytes:  # its memory is written as it stands, without a copy
            file.write(memoryview((ctypes.c_char * spec.bytes).from_address(tensor.data_ptr())))


def _header(where: str, text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text, lambda pairs: _no_twice(where, pairs))
    except JSONError as error:
        raise CheckpointError(
            f"{where}: damaged safetensors file (its header: {error}); fetch it again"
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{where}: damaged safetensors file (its header is no JSON object); fetch it again"
        )
    return cast("dict[str, Any]", header)


def _refuse_metadata(where: str, header: dict[str, Any]) -> None:
    """Say so if all that is wrong with a header is metadata of another kind than the format has: strings."""
    metadata: Any = header.get(METADATA) or {}
    values = cast("dict[str, Any]", metadata if isinstance(metadata, dict) else {METADATA: metadata})
    for key, value in values.items():
        if values is not metadata or not isinstance(value, str):
            raise CheckpointError(
                f"{where}: its metadata {shown(key)} is {shown(json.dumps(value), 40)}, and safetensors allows only "
                "strings by name; save it again with str() around each value"
            )


def _spec(where: str, name: str, entry: object) -> Spec:
    if not isinstance(entry, dict):  # the library also takes a list of the three, which no other reader does
        raise CheckpointError(
            f"{where}: damaged safetensors file (header has {shown(name)} as a {type(entry).__name__}, and not as an "
            "object of dtype, shape and data_offsets); fetch it again"
        )
    told = cast("dict[str, Any]", entry)
    return Spec(_dtype(where, name, told["dtype"]), tuple(told["shape"]))


def _dtype(where: str, name: str, stored: str) -> torch.dtype:
    if stored not in DTYPES:
        raise CheckpointError(
            f"{where}: tensor {shown(name)} is {stored}, none of {', '.join(DTYPES)}; convert it first"
        )
    return DTYPES[stored]


def _no_twice(where: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refusing a key given twice: readers would disagree on which tensor it means."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CheckpointError(
                f"{where}: damaged safetensors file (header has {shown(key)} twice); fetch it again"
            )
        found[key] = value
    return found


def _line(error: Exception) -> str:
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return line if line.isprintable() else ascii(line)
