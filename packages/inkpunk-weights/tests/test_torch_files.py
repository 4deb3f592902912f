"""Files of torch.save are read bit for bit, lazily, without running them; what is wrong with them is told."""

import collections
import gc
import io
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import tracemalloc
import types
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.lazy import Spec
from inkpunk_weights.torch_files import TorchFile, open_torch_file
from torch import Tensor

FORMATS = ("zip", "legacy")
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2),
)


def saved(content: object, format: str) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=format == "zip")
    return buffer.getvalue()


def opened(data: bytes) -> TorchFile:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.ckpt")
        path.write_bytes(data)
        return open_torch_file(path)  # the memory map outlives the name


def refusal(data: bytes) -> str:
    with pytest.raises(CheckpointError) as error:
        dict(opened(data).tensors)
    message = str(error.value)
    assert "model.ckpt: " in message
    assert message.isprintable()
    return message


def bits(tensor: Tensor) -> list[int]:
    return tensor.flatten().clone(memory_format=torch.contiguous_format).view(torch.uint8).tolist()


def assert_same(read: Tensor, written: Tensor) -> None:
    assert read.dtype == written.dtype
    assert read.shape == written.shape
    assert bits(read) == bits(written)
    assert not read.requires_grad


# What torch.save writes.


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any bits of any dtype, as any view of their storage."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    count = 4 + torch.Size(shape).numel()
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    if dtype == torch.bool:
        raw = bytes(byte & 1 for byte in raw)
    storage = torch.frombuffer(bytearray(raw), dtype=dtype)
    tensor = storage[draw(st.integers(0, 4)) :][: torch.Size(shape).numel()].reshape(shape)
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    if shape and draw(st.booleans()):
        tensor = tensor[..., :: draw(st.integers(1, 3))]
    return tensor


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=8), tensors(), min_size=1, max_size=4), st.sampled_from(FORMATS))
def test_every_bit_that_torch_saved_is_read(content: dict[str, Tensor], format: str) -> None:
    file = opened(saved(content, format))
    assert file.format == format
    assert list(file.tensors) == list(content)
    for name, tensor in content.items():
        assert file.tensors.spec(name) == Spec(tensor.dtype, tuple(tensor.shape))
        assert_same(file.tensors[name], tensor)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", FORMATS)
def test_every_dtype_is_read(format: str, dtype: torch.dtype) -> None:
    tensor = torch.arange(3 * 4 * dtype.itemsize).to(torch.uint8).remainder(2).view(dtype).reshape(3, 4)
    file = opened(saved({"plain": tensor, "transposed": tensor.t()}, format))
    assert_same(file.tensors["plain"], tensor)
    assert_same(file.tensors["transposed"], tensor.t())
    assert file.imports == ()


@pytest.mark.parametrize("format", FORMATS)
def test_a_module_s_state_dict_is_read(format: str) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    file = opened(saved(module.state_dict(), format))
    assert file.root == ""
    assert file.imports == ()
    fresh = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    fresh.load_state_dict(dict(file.tensors))
    for name, tensor in module.state_dict().items():
        assert_same(fresh.state_dict()[name], tensor)


@pytest.mark.parametrize("format", FORMATS)
def test_parameters_are_read_as_tensors(format: str) -> None:
    parameter = torch.nn.Parameter(torch.randn(3))
    noted = torch.nn.Parameter(torch.randn(3))
    noted.note = "kept in its __dict__"  # type: ignore[attr-defined]
    tensor = torch.randn(3)
    tensor.note = "kept in its __dict__"  # type: ignore[attr-defined]
    file = opened(saved({"parameter": parameter, "noted": noted, "tensor": tensor}, format))
    assert_same(file.tensors["parameter"], parameter.detach())
    assert_same(file.tensors["noted"], noted.detach())
    assert_same(file.tensors["tensor"], tensor)


def test_tensors_that_share_a_storage_share_the_file_s_bytes() -> None:
    weight = torch.randn(8, 4)
    file = opened(saved({"embedding": weight, "head": weight, "row": weight[3]}, "zip"))
    embedding, head, row = (file.tensors[name] for name in ("embedding", "head", "row"))
    assert embedding.data_ptr() == head.data_ptr()
    assert row.data_ptr() == embedding[3].data_ptr()
    assert embedding.untyped_storage().nbytes() == 8 * 4 * 4  # one storage's bytes, and not the file's


@pytest.mark.parametrize("format", FORMATS)
def test_writing_to_a_tensor_leaves_the_file_as_it_was(tmp_path: Path, format: str) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(saved({"a": torch.ones(100), "b": torch.ones(100)}, format))
    before = path.read_bytes()
    file = open_torch_file(path)
    for tensor in file.tensors.values():
        tensor.fill_(7)
        assert tensor.tolist() == [7] * 100
    assert path.read_bytes() == before
    assert open_torch_file(path).tensors["a"].tolist() == [1] * 100


@pytest.mark.parametrize("format", FORMATS)
def test_tensors_outlive_what_they_were_read_from(format: str) -> None:
    written = torch.randn(1000)
    file = opened(saved({"a": written}, format))
    tensor = file.tensors["a"]
    del file
    gc.collect()
    assert_same(tensor, written)


# What training leaves in a file.


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("root", ["state_dict", "model"])
def test_weights_are_found_beneath_their_root_and_optimizer_states_are_not_weights(
    root: str, format: str
) -> None:
    layer = torch.nn.Linear(3, 2)
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}
    content = {
        "epoch": 12,
        "global_step": 3400,
        "version": "1.6.0",
        "loss": 0.25,
        "finished": True,
        "huge": 2**100,
        root: layer.state_dict(),
        "optimizer_states": [{"state": {0: moments}, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]}],
        "hook": torch.ones(2),
        "hyper_parameters": {"lr": 1e-4, "betas": (0.9, 0.999), 1: 2, "layers": {1, 2}, "slice": slice(1)},
    }
    file = opened(saved(content, format))
    assert file.root == root
    assert list(file.tensors) == ["weight", "bias"]
    plain = ("epoch", "global_step", "version", "loss", "finished")
    assert file.metadata == {name: content[name] for name in plain}
    assert file.imports == ()
    assert_same(file.tensors["weight"], layer.weight.detach())


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("format", FORMATS)
def test_objects_of_absent_libraries_are_named_and_skipped(format: str, protocol: int) -> None:
    names = ("lightning_like.callbacks.ModelCheckpoint", "omega_like.DictConfig")
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for name in names:
            module_name, _, class_name = name.rpartition(".")
            kind = type(class_name, (dict,), {"__module__": module_name})
            parts = module_name.split(".")
            for depth in range(1, len(parts) + 1):
                full = ".".join(parts[:depth])
                patch.setitem(sys.modules, full, sys.modules.get(full, types.ModuleType(full)))
            patch.setattr(sys.modules[module_name], class_name, kind, raising=False)
            instance = kind(lr=0.1)
            instance.best = torch.ones(2)
            made.append(instance)
        callback, config = made
        buffer = io.BytesIO()
        torch.save(
            {
                "callbacks": {type(callback): callback},
                "hyper_parameters": config,
                "state_dict": {"weight": torch.ones(2), "config": config},
            },
            buffer,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=format == "zip",
        )
    file = opened(buffer.getvalue())
    assert file.imports == names
    assert list(file.tensors) == ["weight"]


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_in_a_file_is_run(tmp_path: Path, format: str) -> None:
    marker = tmp_path / "marker"

    class Evil:
        def __init__(self, function: Callable[..., object], *arguments: object) -> None:
            self.call = function, arguments

        def __reduce__(self) -> object:
            return self.call

    content = {
        "state_dict": {
            "weight": torch.ones(2),
            "evil": Evil(eval, f"__import__('os').mkdir({str(marker)!r})"),
        },
        "callbacks": Evil(exec, "raise SystemExit"),
    }
    file = opened(saved(content, format))
    assert dict(file.tensors)["weight"].tolist() == [1, 1]
    assert not marker.exists()
    assert file.imports == ("builtins.eval", "builtins.exec")
    with pytest.raises(SystemExit):
        torch.load(io.BytesIO(saved(content, format)), weights_only=False)
    assert marker.exists()  # so this test would notice


@pytest.mark.parametrize("format", FORMATS)
def test_a_parameter_dict_is_a_dict_of_tensors(format: str) -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    file = opened(saved({"state_dict": torch.nn.ParameterDict({"weight": weight})}, format))
    assert (file.root, file.imports) == ("state_dict", ())
    assert list(file.tensors) == ["weight"]
    assert_same(file.tensors["weight"], weight.detach())
    assert "'torch.nn.ParameterDict' object" in refusal(saved(torch.nn.ParameterDict(), format))
    assert "no tensors by name" in refusal(saved({"model": torch.nn.ParameterDict()}, format))


# Files made by hand.


class StorageStub:
    """Pickles as the storage `key` of `count` numbers."""

    def __init__(
        self, key: str = "0", count: object = 6, *part: object, kind: type = torch.FloatStorage
    ) -> None:
        self.persistent_id = ("storage", kind, key, "cpu", count, *part)


class TensorStub:
    """Pickles as torch pickles a tensor, with whatever offset, shape and strides."""

    def __init__(self, storage: object, offset: object, shape: object, stride: object, *more: object) -> None:
        self.arguments = (storage, offset, shape, stride, *(more or (False, collections.OrderedDict())))

    def __reduce__(self) -> object:
        return torch._utils._rebuild_tensor_v2, self.arguments


def pickled(content: object, protocol: int = 2) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return getattr(obj, "persistent_id", None) if isinstance(obj, StorageStub) else None

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(content)
    return buffer.getvalue()


SIX = struct.pack("<6f", *range(6))


def zip_file(
    content: object,
    records: Sequence[tuple[str, bytes]] = (("data/0", SIX),),
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickled(content))
        for name, data in records:
            file.writestr(f"archive/{name}", data)
        file.writestr("archive/version", "3\n")
    return buffer.getvalue()


def legacy_file(
    content: object, storages: Sequence[tuple[object, int, bytes]] = (("0", 6, SIX),), **info: Any
) -> bytes:
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True} | info]
    return b"".join(
        [
            *(pickle.dumps(value, 2) for value in start),
            pickled(content),
            pickle.dumps([key for key, _, _ in storages], 2),
            *(struct.pack("<q", count) + data for _, count, data in storages),
        ]
    )


def whole(storage: object = None) -> TensorStub:
    return TensorStub(storage or StorageStub(), 0, (2, 3), (3, 1))


@pytest.mark.parametrize("format", FORMATS)
def test_files_made_by_hand_are_like_torch_s(format: str) -> None:
    data = (
        zip_file({"a": whole()}) if format == "zip" else legacy_file({"a": whole(StorageStub("0", 6, None))})
    )
    assert opened(data).tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.load(io.BytesIO(data))["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_deflated_files_are_read() -> None:
    file = opened(zip_file({"a": whole()}, method=zipfile.ZIP_DEFLATED))
    assert file.tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_parts_of_storages_are_read_from_very_old_files() -> None:
    part = TensorStub(StorageStub("0", 6, ("1", 2, 4)), 1, (3,), (1,))
    file = opened(legacy_file({"a": part, "b": whole(StorageStub("0", 6, None))}))
    assert file.tensors["a"].tolist() == [3, 4, 5]
    assert file.tensors["b"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_state_dict_that_python_2_wrote_is_read() -> None:
    class Python2Dict:
        def __reduce__(self) -> object:
            return collections.OrderedDict, ([["a", whole()], ("b", 1), ["broken"], [3, 4]],)

    assert list(opened(zip_file({"state_dict": Python2Dict()})).tensors) == ["a"]


def test_one_tensor_of_a_huge_file_is_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "huge.ckpt"
    huge = 1 << 30  # numbers: 4 GiB, all of them a hole in the file
    content = {"huge": TensorStub(StorageStub("0", huge), 0, (huge,), (1,)), "small": whole(StorageStub("1"))}
    data = legacy_file(content, [("0", huge, b""), ("1", 6, SIX)])
    cut = len(data) - len(SIX) - 8
    with path.open("wb") as stream:
        stream.write(data[:cut])
        stream.seek(cut + 4 * huge)
        stream.write(data[cut:])

    before = resident_bytes()
    file = open_torch_file(path)
    assert file.tensors.spec("huge") == Spec(torch.float32, (huge,))
    assert "huge" in file.tensors
    assert file.tensors["small"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert resident_bytes() - before < 256 << 20


def resident_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("only Linux tells how much memory a process uses right now")
    return (
        next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        << 10
    )


FAR = 2**62


@pytest.mark.parametrize(
    ("stub", "reason"),
    [
        (TensorStub(StorageStub(), 1, (2, 3), (3, 1)), "number 7 of a storage of 6"),
        (TensorStub(StorageStub(), 0, (7,), (1,)), "number 7 of a storage of 6"),
        (TensorStub(StorageStub(), 0, (2, 3), (4, 1)), "number 7 of a storage of 6"),
        (TensorStub(StorageStub(), FAR, (1,), (1,)), "of a storage of 6"),
        (TensorStub(StorageStub(), 0, (2,), (FAR,)), "of a storage of 6"),
        (
            TensorStub(StorageStub(), 0, (3, 3, 3), (FAR, FAR, FAR)),
            "of a storage of 6",
        ),  # would be 0 in int64
        (TensorStub(StorageStub(), 0, (FAR,), (1,)), "of a storage of 6"),
        (TensorStub(StorageStub(), 0, (FAR, 0, FAR), (0, 0, 0)), "makes no sense"),
        (TensorStub(StorageStub(), 0, (2, 3), (3,)), "makes no sense"),
        (TensorStub(StorageStub(), 0, (2**32,), (0,)), "repeats numbers"),
        (TensorStub(StorageStub(), 0, (10**30,), (1,)), "no count"),
        (TensorStub(StorageStub(), -1, (2,), (1,)), "no count"),
        (TensorStub(StorageStub(), 0, (-2,), (1,)), "no count"),
        (TensorStub(StorageStub(), 5, (3,), (-1,)), "no count"),
        (TensorStub(StorageStub(), 0, ("2",), (1,)), "no count"),
        (TensorStub(StorageStub(), 0, (True,), (1,)), "no count"),
        (TensorStub(StorageStub(), 0, 2, 1), "no tuple of counts"),
        (TensorStub(StorageStub(), 0, (1,) * 65, (1,) * 65), "no tuple of counts"),
        (TensorStub(StorageStub(), 0, (2,), (1,), False, {}, {"conj": True}), "lazily"),
        (TensorStub(StorageStub("0", -6), 0, (2,), (1,)), "no count"),
        (TensorStub(StorageStub("0", 2**70), 0, (2,), (1,)), "no count"),
        (TensorStub(StorageStub("0", 5), 0, (2,), (1,)), "in 24 bytes"),
        (TensorStub(StorageStub("0", FAR), 0, (FAR,), (1,)), "in 24 bytes"),
        (TensorStub(StorageStub("1", 6), 0, (2,), (1,)), "are missing"),
        (TensorStub(StorageStub("../data.pkl", 6), 0, (2,), (1,)), "are missing"),
        (TensorStub(StorageStub("/etc/passwd", 6), 0, (2,), (1,)), "are missing"),
        (TensorStub(StorageStub("0", 6, ("1", 4, 3)), 0, (2,), (1,)), "leaves its 6 numbers"),
    ],
)
def test_views_that_leave_their_storage_are_refused(stub: TensorStub, reason: str) -> None:
    assert reason in refusal(zip_file({"a": stub}))


@pytest.mark.parametrize("stride", [0, 1, 2**63 - 1])
def test_steps_that_are_never_taken_may_be_any(stride: int) -> None:
    file = opened(zip_file({"a": TensorStub(StorageStub(), 5, (1, 1), (stride, stride))}))
    assert file.tensors["a"].tolist() == [[5]]
    file = opened(zip_file({"a": TensorStub(StorageStub(), 2**63 - 1, (0, 3), (stride, stride))}))
    assert file.tensors["a"].shape == (0, 3)


@pytest.mark.parametrize(
    ("storages", "reason"),
    [
        ([], "are missing"),
        ([("0", 5, SIX)], "in 20 bytes"),
        ([("0", 7, SIX)], "cut short"),
        ([("0", -1, SIX)], "cut short"),
        ([("0", 2**62, SIX)], "cut short"),
        ([("0", 6, SIX), ("0", 6, SIX)], "repeats one"),
        ([("1", 6, SIX)], "no tensor uses"),
        ([(0, 6, SIX)], "no tensor uses"),
    ],
)
def test_damaged_lists_of_legacy_storages_are_refused(storages: list[Any], reason: str) -> None:
    assert reason in refusal(legacy_file({"a": whole()}, storages))


def test_legacy_storages_of_two_types_are_refused() -> None:
    halves = whole(StorageStub("0", 6, kind=torch.HalfStorage))
    assert "two sizes" in refusal(legacy_file({"a": whole(), "b": halves}))


def test_big_endian_files_are_refused() -> None:
    assert "big-endian" in refusal(legacy_file({"a": whole()}, little_endian=False))
    assert "big-endian" in refusal(zip_file({"a": whole()}, [("data/0", SIX), ("byteorder", b"big")]))
    little = opened(zip_file({"a": whole()}, [("data/0", SIX), ("byteorder", b"little")]))
    assert little.tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\x00", "not a file that torch.save wrote"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (struct.pack("<Q", 2) + b"{}" + b"0" * 10, "safetensors"),
        (pickle.dumps({"a": [1]}), "not a file that torch.save wrote"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1002, 2), "not version 1001"),
        (saved({"a": torch.ones(3)}, "zip")[:-30], "Download it again"),
        (saved({"a": torch.ones(3)}, "legacy")[:-1], "cut short"),
        (saved({"a": torch.ones(3)}, "legacy")[:60], "cut short"),
        (saved(torch.ones(3), "zip"), "a single tensor"),
        (saved([torch.ones(3)], "zip"), "a list and not a dict"),
        (saved(torch.nn.Linear(2, 2), "zip"), "'torch.nn.modules.linear.Linear' object"),
        (
            saved({"state_dict": torch.nn.Linear(2, 2)}, "zip"),
            "'state_dict' is a 'torch.nn.modules.linear.Linear'",
        ),
        (saved({"epoch": 3}, "zip"), "no tensors by name"),
        (saved({1: torch.ones(3)}, "zip"), "no tensors by name"),
        (zip_file({"a": whole()}).replace(b"archive/data.pkl", b"archive/other.pk"), "needs one record"),
        (zip_file({"a": whole()}, [("constants.pkl", b"")]), "TorchScript"),
        (zip_file({"a": whole()}).replace(b"archive/data/0", b"archive/data/\xff"), "not UTF-8"),
        (
            zip_file({"a": whole()}, [("data/0", SIX), ("data/1", SIX)]).replace(b"data/1", b"data/0"),
            "two zip records",
        ),
        (b"PK\x03\x04 and nothing else", "cut short"),
        (zip_file({"a": whole()}) + b"more", "does not end where"),
        (zip_file({"a\x1b[31m\n": TensorStub(StorageStub("1"), 0, (1,), (1,))}), r"'a\x1b[31m\n'"),
        (zip_file({"a" * 500: TensorStub(StorageStub("1"), 0, (1,), (1,))}), "a..."),
    ],
)
def test_what_is_not_a_checkpoint_of_torch_is_told_so(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


def test_folders_are_refused_and_missing_files_are_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a file"):
        open_torch_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_torch_file(tmp_path / "none.ckpt")


def test_a_zip_bomb_is_refused() -> None:
    bomb = zip_file({"a": whole()}, [("data/0", bytes(5 << 20))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    assert "would unpack" in refusal(bomb)


def deflated(kilobytes: int, tensors: dict[str, TensorStub]) -> bytes:
    """A storage of bytes, some of them random, so that it is not refused for packing too well."""
    pieces = (bytes(range(1, 8)) + bytes(1009) + os.urandom(8) for _ in range(kilobytes))
    return zip_file(tensors, [("data/0", b"".join(pieces))], zipfile.ZIP_DEFLATED)


def part(kilobytes: int, start: int, count: int, step: int = 1) -> TensorStub:
    return TensorStub(StorageStub("0", kilobytes << 10, kind=torch.ByteStorage), start, (count,), (step,))


def test_a_packed_storage_of_which_little_is_used_is_refused() -> None:
    most = 64 << 10
    assert "unpacks to 67,108,864 bytes, of which" in refusal(deflated(most, {"a": part(most, 0, 4)}))
    assert "unpacks to" in refusal(deflated(most, {"a": part(most, 0, 1 << 16, 1 << 10)}))  # far apart


def test_a_packed_storage_that_many_tensors_share_is_refused() -> None:
    most = 32 << 10
    shared = {str(number): part(most, number << 20, 1 << 20) for number in range(32)}
    assert "share packed storages" in refusal(deflated(most, shared))
    few = opened(
        deflated(1 << 10, {str(number): part(1 << 10, number << 16, 1 << 16) for number in range(16)})
    )
    assert all(tensor[:9].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0] for tensor in few.tensors.values())


def test_a_packed_storage_is_read_in_the_memory_of_what_is_used() -> None:
    most = 32 << 10
    file = opened(deflated(most, {"a": part(most, 7, 10 << 20), "b": part(most, 12 << 20, 20 << 20)}))
    tracemalloc.start()
    try:
        read = file.tensors["b"]
        assert tracemalloc.get_traced_memory()[1] < (20 << 20) + (4 << 20)
    finally:
        tracemalloc.stop()
    assert read[:9].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0]
    assert file.tensors["a"][1017:1026].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0]


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 200])
@pytest.mark.parametrize("content", [b"abc", bytes(range(256)) * 9 + b"!"], ids=["well", "badly"])
def test_every_byte_of_a_packed_storage_is_unpacked(size: int, content: bytes) -> None:
    written = (content * (size // len(content) + 1))[:size]
    written = bytes(7) + written[7:]
    stub = TensorStub(StorageStub("0", size, kind=torch.ByteStorage), 0, (size,), (1,))
    noise = torch.randint(256, (len(written) // 100,), dtype=torch.uint8).numpy().tobytes()
    written = (noise + written)[:size]
    file = opened(zip_file({"a": stub}, [("data/0", written)], zipfile.ZIP_DEFLATED))
    assert torch.equal(file.tensors["a"], torch.frombuffer(bytearray(written), dtype=torch.uint8))


PICKLE_BOMBS = {
    "dicts": b"]" + b"(" + b"}h\x00Ns" * 99_000,
    "memo": b"".join(b"}r" + struct.pack("<I", number) for number in range(199_000)),
    "wide": b"X" + struct.pack("<I", 5 << 20) + "\U0001f58b".encode() + bytes((5 << 20) - 4),
}


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from inkpunk_weights import CheckpointError
from inkpunk_weights.torch_files import open_torch_file
for name in sys.argv[1:]:
    tracemalloc.start()
    try:
        open_torch_file(Path(name))
    except CheckpointError:
        print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


@pytest.mark.thorough
def test_a_pickle_takes_no_more_memory_than_is_said(tmp_path: Path) -> None:
    start = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    for name, bomb in PICKLE_BOMBS.items():
        content = b"\x80\x02X\x01\x00\x00\x00aq\x00" + bomb + b"."
        zipped = name != "memo"  # one format each, as tracing so many steps takes seconds
        packed = zip_file(content, method=zipfile.ZIP_DEFLATED) if zipped else start + content
        (tmp_path / name).write_bytes(packed)
    # In a process without types checked at run time, which would take minutes for as many instructions.
    files = sorted(map(str, tmp_path.iterdir()))
    told = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True)
    peaks = list(map(int, told.stdout.split()))
    assert len(peaks) == len(files)
    assert max(peaks) < 64 << 20, dict(zip(files, peaks, strict=True))


def test_a_huge_zip_directory_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(100):
            file.writestr(f"{number}/{'x' * 60_000}", b"")
    assert "the zip directory takes" in refusal(buffer.getvalue())


def test_a_record_that_unpacks_to_other_than_it_announces_is_refused() -> None:
    zeros, truth = bytes(4000), struct.pack("<I", 4000)

    def claiming(count: int) -> bytes:
        """A file whose pickle and directory agree on `count` numbers, where deflated are 1,000."""
        stub = TensorStub(StorageStub("0", count), 0, (count,), (1,))
        data = zip_file({"a": stub}, [("data/0", zeros)], zipfile.ZIP_DEFLATED)
        entry = data.rfind(b"archive/data/0") - 46
        assert data[entry + 24 : entry + 28] == truth
        return data[: entry + 24] + struct.pack("<I", 4 * count) + data[entry + 28 :]

    assert opened(claiming(1000)).tensors["a"].tolist() == [0] * 1000
    for count in (999, 1001):
        assert "damaged" in refusal(claiming(count))
    wrong_checksum = bytearray(claiming(1000))
    wrong_checksum[wrong_checksum.rfind(b"archive/data/0") - 46 + 16] ^= 1
    assert "damaged" in refusal(bytes(wrong_checksum))


def test_encrypted_records_are_refused() -> None:
    data = bytearray(zip_file({"a": whole()}))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refusal(bytes(data))


# Whatever else may be wrong.

SMALL = {
    "state_dict": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.float16)},
    "epoch": 1,
}
VALID = [
    saved(SMALL, "zip"),
    saved(SMALL, "legacy"),
    zip_file({"a": whole()}),
    zip_file({"a": whole()}, method=zipfile.ZIP_DEFLATED),
    legacy_file({"a": whole()}),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        damage = draw(st.sampled_from(["flip", "cut", "fill", "insert", "remove", "move"]))
        if damage == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif damage == "cut":
            del data[at:]
        elif damage == "fill":
            data[at : at + 8] = draw(st.sampled_from([b"\xff", b"\x00", b"\x7f"])) * len(data[at : at + 8])
        elif damage == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif damage == "remove":
            del data[at : at + draw(st.integers(1, 40))]
        elif damage == "move":
            start = draw(st.integers(0, len(data)))
            piece = data[start : start + draw(st.integers(1, 200))]
            data[at : at + len(piece)] = piece
    return bytes(data)


@settings(deadline=None, max_examples=150)
@given(damaged_files())
def test_damaged_files_are_read_or_refused(data: bytes) -> None:
    try:
        file = opened(data)
        for name, tensor in file.tensors.items():
            assert Spec(tensor.dtype, tuple(tensor.shape)) == file.tensors.spec(name)
            assert tensor.clone().numel() <= len(data)
    except CheckpointError as error:
        assert str(error).isprintable()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([b"", b"PK\x03\x04", VALID[1][:15]]), st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(start: bytes, data: bytes) -> None:
    try:
        opened(start + data)
    except CheckpointError as error:
        assert str(error).isprintable()
