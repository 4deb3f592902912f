"""Files written by `torch.save`: opened without running them, tensors as views of the mapped file."""

import mmap
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard

import torch
from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.limits import CHECKPOINT, Limits
from inkpunk_weights.other_models import IMAGE_PROMPT, READ
from inkpunk_weights.pickle_machine import Inert, Instance, is_dict
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.torch_formats import Source, open_source
from inkpunk_weights.torch_pickles import View, parameters

_SPARE: Final = 16 << 20  # bytes that may be unpacked for nothing
ROOTS: Final = ("state_dict", "model")  # where trainers keep the weights, the first that holds a tensor


@dataclass(frozen=True)
class TorchFile:
    """What a `.ckpt`, `.bin` or `.pt` file holds.

    Attributes:
        format: "zip" or "legacy".
        tensors: the weights by the names of their dict, on the CPU, without gradients. They are views of a
            private memory map of the file: changing one never changes the file, but is seen by whoever reads
            the same tensor later. They outlive this object; the file must not be cut short while they are in
            use.
        root: the entry of the top-level dict that held them, such as "state_dict", or "" for none.
        imports: the globals that the pickle wanted and we do not know, in its order. None was imported.
        metadata: the plain values of the top-level dict, such as "epoch" and "global_step".
    """

    format: str
    tensors: LazyTensors
    root: str
    imports: tuple[str, ...]
    metadata: Mapping[str, int | float | str | bool]


def open_torch_file(path: Path, roots: Sequence[str] = ROOTS, limits: Limits = CHECKPOINT) -> TorchFile:
    """Open a file written by `torch.save` that holds a dict of tensors, bare or in a training checkpoint.

    Only its description is read; tensors are read when they are asked for. Nothing in it is ever executed. Takes at
    most 64 MiB of memory beyond what it returns, as does reading a tensor, and time linear in the description;
    reading every tensor once takes time linear in the file, in which a packed byte may stand for 200.

    Args:
        path: the file.
        roots: entries of its top-level dict that may hold the dict of tensors, before that dict itself.
        limits: how much it may ask for.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CheckpointError: it is damaged, hostile, of another kind, or holds no dict. Asking for a tensor can
            raise it too, where only that tensor's bytes are damaged.
    """
    data = _map(path)
    with _naming(path):
        source = open_source(data, limits)
        root, views = _views(source.pickle.value, roots)
        for name, view in views.items():
            _check(name, view, source)
        _check_packed(views, source)

    def read(name: str) -> Tensor:
        with _naming(path):
            return _tensor(views[name], source)

    return TorchFile(
        source.format,
        LazyTensors({name: view.spec for name, view in views.items()}, read),
        root,
        source.pickle.imports,
        _scalars(source.pickle.value),
    )


@contextmanager
def _naming(path: Path) -> Generator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{shown_path(path)}: {error}", found=error.found) from None


def _map(path: Path) -> memoryview:
    check_regular(path)
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise CheckpointError(f"{shown_path(path)}: the file is empty. Download it again")
        # Private and writable: torch has no read-only tensors, and a write makes a private copy of its page.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


def _views(value: object, roots: Sequence[str]) -> tuple[str, dict[str, View]]:
    """The tensors of the first root that has any, and that root."""
    advice = "Load it where it was made and save its .state_dict()"
    if not is_dict(value):
        raise CheckpointError(f"this holds {_kind(value)} and not a dict of tensors. {advice}")
    holders = {root: parameters(value[root]) for root in roots if root in value} | {"": value}
    for root, holder in holders.items():
        if is_dict(holder):
            views = {name: view for name, view in holder.items() if isinstance(view, View)}
            if views:
                return root, views
    for root, holder in holders.items():
        if isinstance(holder, Inert | Instance):
            raise CheckpointError(f"its {root!r} is {_kind(holder)} and not a dict of tensors. {advice}")
    if (
        "image_proj" in value and "ip_adapter" in value
    ):  # two dicts, of which whoever wants them names one as root
        raise CheckpointError(f"this is {IMAGE_PROMPT}", found=READ[IMAGE_PROMPT])
    places = " or ".join(map(repr, roots))
    keys = ", ".join(shown(key, 30) for key in list(value)[:5]) or "nothing"
    raise CheckpointError(f"this holds no tensors by name, at its top or in {places}, but {keys}")


def _kind(value: object) -> str:
    if isinstance(value, Inert | Instance):
        return f"a {shown(value.name)} object"
    return "a single tensor" if isinstance(value, View) else f"a {type(value).__name__}"


def _scalars(value: object) -> dict[str, int | float | str | bool]:
    return {key: item for key, item in value.items() if _is_plain(item)} if is_dict(value) else {}


def _is_plain(value: object) -> TypeGuard[int | float | str | bool]:
    return type(value) in (bool, float, str) or (type(value) is int and value.bit_length() < 64)


def _check(name: str, view: View, source: Source) -> None:
    storage = view.storage
    size = source.sizes.get(storage.key)
    if size is None:
        raise CheckpointError(f"the bytes of tensor {shown(name)} are missing (storage {shown(storage.key)})")
    # An untyped storage may end in bytes that make no whole number.
    if not 0 <= size - storage.total * storage.dtype.itemsize < storage.dtype.itemsize:
        raise CheckpointError(
            f"tensor {shown(name)} needs {storage.total:,} numbers of {storage.dtype} in {size:,} bytes"
        )
    if view.spec.numel > view.available:
        raise CheckpointError(
            f"tensor {shown(name)} repeats numbers: {view.spec.numel:,}, and {view.available:,} are stored. "
            "Save its .contiguous()"
        )


def _check_packed(views: Mapping[str, View], source: Source) -> None:
    """Refuse storages that would be unpacked for little, or again and again, each time as a whole."""
    users: dict[str, list[View]] = {}
    for view in views.values():
        if view.storage.key in source.packed and view.reach:
            users.setdefault(view.storage.key, []).append(view)
    again = 0
    for key, on_it in users.items():
        size, used = source.sizes[key], sum(view.spec.bytes for view in on_it)
        again += size * (len(on_it) - 1)
        spread = max(view.reach * view.dtype.itemsize - view.spec.bytes for view in on_it)
        if size > 2 * used + _SPARE or spread > _SPARE:
            raise CheckpointError(
                f"storage {shown(key)} unpacks to {size:,} bytes, of which its tensors use {used:,}. Save the "
                ".clone() of each, without compression"
            )
    if again > 4 * _SPARE:
        raise CheckpointError(
            f"its tensors share packed storages: reading each would unpack {again:,} bytes more than there are. Save "
            "it without compression"
        )


def _tensor(view: View, source: Source) -> Tensor:
    if not view.reach:
        return torch.empty(view.shape, dtype=view.dtype)
    key, itemsize = view.storage.key, view.dtype.itemsize
    begin = view.storage.start * view.storage.dtype.itemsize
    if key not in source.packed:
        raw = source.read(key, begin, begin + view.available * itemsize)
        if torch.frombuffer(raw, dtype=torch.uint8).data_ptr() % itemsize == 0:
            return torch.frombuffer(raw, dtype=view.dtype).as_strided(view.shape, view.stride, view.offset)
    # Packed, or at a place that torch does not stand: the legacy format aligns nothing. Copy what the tensor spans.
    first = begin + view.offset * itemsize
    raw = source.read(key, first, first + view.reach * itemsize)
    span = raw if isinstance(raw, bytearray) else bytearray(raw)
    return torch.frombuffer(span, dtype=view.dtype).as_strided(view.shape, view.stride)
