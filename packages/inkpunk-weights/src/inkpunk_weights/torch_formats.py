"""The two formats of `torch.save`: where each keeps its pickle, and where the storages that it speaks of.

Since torch 1.6, a zip file: the record `<any>/data.pkl` is the pickle, `<any>/data/<key>` are the storages.
Before, a stream of five pickles (a magic number, a version, the writer's machine, the object, the keys of the
storages), then each storage as its count of numbers (int64) and these numbers.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.limits import Limits
from inkpunk_weights.pickle_machine import is_dict, is_key, is_list
from inkpunk_weights.pickles import Unpickled, read_pickle
from inkpunk_weights.torch_pickles import TORCH_GLOBALS, Storage, from_outside
from inkpunk_weights.zip_records import unpack_record, zip_records

_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION: Final = 1001
_SHORT_PICKLE: Final = 1024  # bytes that the first three pickles fit in; the largest takes some 140


@dataclass(frozen=True)
class Source:
    """What the formats have in common: a pickle, and the storages it speaks of."""

    format: str
    pickle: Unpickled
    sizes: Mapping[str, int]  # bytes of each storage, by key
    read: Callable[
        [str, int, int], memoryview | bytearray
    ]  # these bytes from one to another: in place, or a copy
    packed: Collection[str] = ()  # the storages that are copied, as they must be unpacked first


def open_source(data: memoryview, limits: Limits) -> Source:
    """Tell the format of a file and find its parts. Takes at most 64 MiB of memory, and time linear in the parts that
    describe the file.

    Raises:
        CheckpointError: it is damaged, hostile, or not a file of `torch.save`.
    """
    return _open_zip(data, limits) if bytes(data[:4]) == b"PK\x03\x04" else _open_legacy(data, limits)


def _open_zip(data: memoryview, limits: Limits) -> Source:
    records = zip_records(data, limits)
    folders = [
        name.removesuffix("/data.pkl")
        for name in records
        if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(folders) != 1:
        raise CheckpointError(
            "this is a zip file, but not of torch.save: it needs one record '<any>/data.pkl'"
        )
    folder = folders[0]
    if f"{folder}/constants.pkl" in records:
        raise CheckpointError(
            "this is a TorchScript program; load it where it was made and save its .state_dict()"
        )
    order = records.get(f"{folder}/byteorder")
    if order is not None and (order.size > len("little") or bytes(unpack_record(data, order)) != b"little"):
        raise CheckpointError("its numbers are big-endian; save it again on a little-endian machine")
    index = records[f"{folder}/data.pkl"]
    if index.size > limits.description:
        raise CheckpointError(
            f"its data.pkl takes {index.size:,} bytes, more than the {limits.description:,} we read"
        )
    storages = f"{folder}/data/"
    stored = {
        name.removeprefix(storages): record for name, record in records.items() if name.startswith(storages)
    }
    return Source(
        "zip",
        read_pickle(memoryview(unpack_record(data, index)), TORCH_GLOBALS, from_outside, limits),
        {key: record.size for key, record in stored.items()},
        lambda key, start, stop: unpack_record(data, stored[key], start, stop),
        {key for key, record in stored.items() if record.deflated},
    )


def _open_legacy(data: memoryview, limits: Limits) -> Source:
    at = _after_magic(data, limits)
    version, at = _next_pickle(data[: at + _SHORT_PICKLE], at, limits)
    if type(version) is not int or version != _LEGACY_VERSION:
        raise CheckpointError(f"its format is not version {_LEGACY_VERSION}, the only one there is")
    machine, at = _next_pickle(data[: at + _SHORT_PICKLE], at, limits)
    if is_dict(machine) and machine.get("little_endian") is False:
        raise CheckpointError("its numbers are big-endian; save it again on a little-endian machine")

    itemsizes: dict[str, int] = {}

    def outside(key: object) -> object:
        found = from_outside(key)
        if (
            isinstance(found, Storage)
            and itemsizes.setdefault(found.key, found.dtype.itemsize) != found.dtype.itemsize
        ):
            raise CheckpointError(f"storage {shown(found.key)} has numbers of two sizes")
        return found

    pickle = read_pickle(data[at:], TORCH_GLOBALS, outside, limits)
    # Beside the pickle, so that both together take no more than one may: a key takes two steps.
    few = replace(limits, steps=min(limits.steps, 4 * len(itemsizes) + 100))
    keys, at = _next_pickle(data, at + pickle.end, few)
    if not is_list(keys):
        raise CheckpointError("its list of storages is missing")
    starts: dict[str, tuple[int, int]] = {}
    for key in keys:
        if not is_key(key) or key in starts or key not in itemsizes:
            raise CheckpointError("its list of storages repeats one, or names one that no tensor uses")
        count = int.from_bytes(data[at : at + 8], "little", signed=True)
        start, at = at + 8, at + 8 + count * itemsizes[key]
        if count < 0 or at > len(data):
            raise CheckpointError(
                f"storage {shown(key)} takes more bytes than there are; the file is cut short"
            )
        starts[key] = start, at
    return Source(
        "legacy",
        pickle,
        {key: end - start for key, (start, end) in starts.items()},
        lambda key, start, stop: data[slice(*starts[key])][start:stop],
    )


def _next_pickle(data: memoryview, at: int, limits: Limits) -> tuple[object, int]:
    pickle = read_pickle(data[at:], {}, limits=limits)
    return pickle.value, at + pickle.end


def _after_magic(data: memoryview, limits: Limits) -> int:
    """Where the magic number ends; without it, an error that says what the file seems to be."""
    try:
        magic, at = _next_pickle(data[:_SHORT_PICKLE], 0, limits)
    except CheckpointError:
        magic, at = None, 0
    if type(magic) is int and magic == _LEGACY_MAGIC:
        return at
    head = bytes(data[:64])
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError("this is a Git LFS pointer, not the weights. Fetch them with `git lfs pull`")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise CheckpointError("this is a web page, not a checkpoint. Download the file itself")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < len(data):
        raise CheckpointError("this is a safetensors file. Rename it to end in .safetensors")
    raise CheckpointError("this is not a file that torch.save wrote (neither its zip nor its legacy format)")
