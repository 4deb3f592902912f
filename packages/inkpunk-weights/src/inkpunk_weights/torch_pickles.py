"""What the globals in torch's pickles stand for: views of storages, which are bytes elsewhere in the file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.lazy import Spec
from inkpunk_weights.pickle_machine import Inert, Instance, Rule, is_dict, is_key, is_list, is_tuple

_MAX_DIMS: Final = 64
_MAX_COUNT: Final = 2**63  # exclusive: what torch's int64 holds


_UNKNOWN: Final = Inert("storage of an unknown kind")
_STRANGE: Final = Inert("tensor of an unknown kind")


@dataclass(frozen=True, slots=True, eq=False)
class StorageType:
    """Stands for torch.FloatStorage and its like."""

    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of `count` numbers from number `start` on, of the `total` that are stored as `key`."""

    key: str
    dtype: torch.dtype
    total: int
    start: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A tensor as pickled: which numbers of a storage it shows, in which shape. It lies within its storage.

    Offset and stride count numbers of `dtype`, which differs from the storage's where that is untyped bytes.
    """

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def spec(self) -> Spec:
        """Its dtype and shape."""
        return Spec(self.dtype, self.shape)

    @property
    def available(self) -> int:
        """How many numbers of its dtype its storage holds."""
        return self.storage.count * self.storage.dtype.itemsize // self.dtype.itemsize

    @property
    def reach(self) -> int:
        """How many numbers lie between its first and its last, both included; 0 if it is empty."""
        if 0 in self.shape:
            return 0
        return 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))


def from_outside(key: object) -> object:
    """What a persistent id names: a storage, a module's class (the legacy format adds its source), or else
    `Inert`.

    Raises:
        CheckpointError: the id makes no sense.
    """
    if not is_tuple(key) or len(key) not in (4, 5, 6):
        return _UNKNOWN
    if len(key) == 4:
        tag, module, *_ = key
        return module if tag == "module" and isinstance(module, Rule | Inert) else _UNKNOWN
    kind, storage_type, name, _, total, *part = key
    if kind != "storage" or not isinstance(storage_type, StorageType) or not is_key(name):
        return _UNKNOWN
    total = _count(total)
    start, count = 0, total
    if (
        part and is_tuple(part[0]) and len(part[0]) == 3
    ):  # the legacy format, before storages were always whole
        start, count = _count(part[0][1]), _count(part[0][2])
    if start + count > total:
        raise CheckpointError(f"a part of storage {shown(name)} leaves its {total:,} numbers")
    return Storage(name, storage_type.dtype, total, start, count)


def _count(value: object) -> int:
    if type(value) is int and 0 <= value < _MAX_COUNT:
        return value
    raise CheckpointError("a size, offset, shape or stride is no count")


def _counts(value: object) -> tuple[int, ...]:
    if is_tuple(value) and len(value) <= _MAX_DIMS:
        return tuple(_count(number) for number in value)
    raise CheckpointError("a tensor's shape or stride is no tuple of counts")


def _view(storage: Storage, dtype: torch.dtype, offset: object, shape: object, stride: object) -> View:
    view = View(storage, dtype, _count(offset), _counts(shape), _counts(stride))
    if len(view.shape) != len(view.stride) or math.prod(max(size, 1) for size in view.shape) >= _MAX_COUNT:
        raise CheckpointError("a tensor's shape makes no sense")
    if view.reach and view.offset + view.reach > view.available:
        raise CheckpointError(
            f"a tensor shows number {view.offset + view.reach:,} of a storage of {view.available:,} numbers"
        )
    return view


def _refuse_flags(metadata: tuple[object, ...]) -> None:
    if any(is_dict(flags) and (flags.get("conj") is True or flags.get("neg") is True) for flags in metadata):
        raise CheckpointError(
            "a tensor is conjugated or negated lazily; save its .resolve_conj().resolve_neg()"
        )


def _tensor(arguments: tuple[object, ...]) -> object:
    match arguments:  # _rebuild_tensor_v2; the first four alone are _rebuild_tensor
        case (Storage() as storage, offset, shape, stride, *_):
            _refuse_flags(arguments[6:7])
            return _view(storage, storage.dtype, offset, shape, stride)
        case _:
            return _STRANGE


def _typed_tensor(arguments: tuple[object, ...]) -> object:
    match arguments:  # _rebuild_tensor_v3: dtypes that have no storage class of their own
        case (Storage() as storage, offset, shape, stride, _, _, torch.dtype() as dtype, *_):
            _refuse_flags(arguments[7:8])
            return _view(storage, dtype, offset, shape, stride)
        case _:
            return _STRANGE


def _subclassed_tensor(arguments: tuple[object, ...]) -> object:
    match arguments:  # _rebuild_from_type_v2(function, type, arguments, state): keep what is a tensor in it
        case (Rule(build=build), _, inner, _) if is_tuple(inner) and build in (
            _tensor,
            _typed_tensor,
            _first,
        ):
            return build(inner)
        case _:
            return _STRANGE


def _first(arguments: tuple[object, ...]) -> object:
    return arguments[0] if arguments else _STRANGE


def _parameter_dict(_: tuple[object, ...]) -> Instance:
    return Instance("torch.nn.ParameterDict")


def parameters(value: object) -> object:
    """The dict that a pickled `torch.nn.ParameterDict` keeps its parameters in, before and since torch 1.12; what
    is none, as it is.
    """
    return value.state.get("_parameters") if isinstance(value, Instance) and is_dict(value.state) else value


def _ordered_dict(arguments: tuple[object, ...]) -> object:
    pairs = _first(arguments)  # as Python 2 wrote them; later an empty dict is filled
    entries = (item for item in pairs if is_tuple(item) or is_list(item)) if is_list(pairs) else ()
    return {key: value for key, value in (entry for entry in entries if len(entry) == 2) if is_key(key)}


_DTYPES: Final[Mapping[str, str]] = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
}
_LATER_DTYPES: Final = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
_BYTES: Final = StorageType(torch.uint8)

# Names that training leaves in a checkpoint, and that could do no harm even where they are called.
_HARMLESS: Final = (
    *(
        f"builtins.{name}"
        for name in ("set", "frozenset", "slice", "range", "complex", "bytearray", "object")
    ),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray", "copyreg._reconstructor", "_codecs.encode"),
    *("collections.Counter", "collections.deque"),
    *("torch.device", "torch.Tensor"),
)

TORCH_GLOBALS: Final[Mapping[str, object]] = {
    **{name: Inert(name) for name in _HARMLESS},
    **{
        f"{module}.{kind}Storage": StorageType(getattr(torch, dtype))
        for module in ("torch", "torch.cuda")
        for kind, dtype in _DTYPES.items()
    },
    **{f"torch.{dtype}": getattr(torch, dtype) for dtype in (*_DTYPES.values(), *_LATER_DTYPES)},
    "torch.UntypedStorage": _BYTES,
    "torch.storage.UntypedStorage": _BYTES,
    "torch.Size": Rule(_first),
    "torch._utils._rebuild_tensor": Rule(_tensor),
    "torch._utils._rebuild_tensor_v2": Rule(_tensor),
    "torch._utils._rebuild_tensor_v3": Rule(_typed_tensor),
    "torch._utils._rebuild_parameter": Rule(_first),
    "torch._utils._rebuild_parameter_with_state": Rule(_first),
    "torch.nn.parameter.Parameter": Rule(_first),
    "torch._tensor._rebuild_from_type_v2": Rule(_subclassed_tensor),
    "torch.nn.modules.container.ParameterDict": Rule(_parameter_dict),
    "collections.OrderedDict": Rule(_ordered_dict),
    "collections.defaultdict": Rule(_ordered_dict),
    "builtins.dict": Rule(_ordered_dict),
}
