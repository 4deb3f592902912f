"""Safetensors files are refused unless every byte of them is accounted for."""

import json
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk_weights import CheckpointError
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.safetensors_files import open_safetensors, write_safetensors
from safetensors.torch import load, load_file, save_file

A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DATA = bytes(8)


def file_of(path: Path, header: object, data: bytes = DATA, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = path / "stranger.safetensors"
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    tensors = {
        "a": torch.rand(2, 3),
        "b": torch.rand(()).half(),
        "c": torch.zeros(0, 4),
        "d": torch.tensor([True]),
    }
    save_file(tensors, tmp_path / "x.safetensors", {"note": "hello"})
    file = open_safetensors(tmp_path / "x.safetensors")
    assert file.metadata == {"note": "hello"}
    for name, tensor in tensors.items():
        assert file.tensors.spec(name) == Spec(tensor.dtype, tuple(tensor.shape))
        assert torch.equal(file.tensors[name], tensor)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64]),
            st.lists(st.integers(0, 3), max_size=4).map(tuple),
        )
    ),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    ),
)
def test_what_is_written_the_library_reads(
    kinds: list[tuple[torch.dtype, tuple[int, ...]]], metadata: dict[str, str]
) -> None:
    tensors = {f"tensor {i}": (torch.rand(shape) * 100).to(dtype) for i, (dtype, shape) in enumerate(kinds)}
    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with TemporaryFile() as written:
        write_safetensors(written, LazyTensors(specs, tensors.__getitem__), metadata)
        written.seek(0)
        read = load(written.read())
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_a_written_file_says_that_it_is_torchs(single: Path) -> None:
    assert open_safetensors(single).metadata == {"format": "pt"}  # transformers refuses files that do not
    assert all(tensor.data_ptr() % tensor.itemsize == 0 for tensor in load_file(single).values())


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        ({"a": A}, DATA, 2**60),
        ({"a": A}, DATA, 2**63),
        ({"a": A}, DATA, 10),
        ({"a": A}, DATA + b"more", None),
        ({"a": A}, DATA[:4], None),
        ({"a": A, "b": A}, DATA, None),
        ({"a": A | {"data_offsets": [8, 16]}}, DATA * 2, None),
        ({"a": A | {"data_offsets": [8, 0]}}, DATA, None),
        ({"a": A | {"data_offsets": [0, 2**70]}}, DATA, None),
        ({"a": A | {"shape": [3]}}, DATA, None),
        ({"a": A | {"shape": [-2]}}, DATA, None),
        ({"a": A | {"shape": [2**40, 2**40]}}, DATA, None),
        ({"a": A | {"shape": "2"}}, DATA, None),
        ({"a": A | {"dtype": "F99"}}, DATA, None),
        ({"a": A | {"dtype": "F4", "shape": [16]}}, DATA, None),
        ({"a": A | {"dtype": "C64", "shape": [1]}}, DATA, None),
        ({"a": 3}, DATA, None),
        ({"__metadata__": {"note": 3}, "a": A}, DATA, None),
        ({"__metadata__": [], "a": A}, DATA, None),
        (b'{"a":' + b"[" * 100_000, b"", None),
        (b"{", b"", None),
        (b'{"\xff": 1}', b"", None),
        (f'{{"a": {json.dumps(A)}, "a": {json.dumps(A)}}}'.encode(), DATA, None),
        (f'{{"a": {json.dumps(A | {"shape": [1]})}, "a": {json.dumps(A)}}}'.encode(), DATA, None),
        (f'{{"__metadata__": {{"x": "1", "x": "2"}}, "a": {json.dumps(A)}}}'.encode(), DATA, None),
        ({"a": ["F32", [2], [0, 8]]}, DATA, None),  # which the library takes for the three by name
        (json.dumps({"a": A | {"x": 7}}).replace("7", "7" * 5000).encode(), DATA, None),  # int() refuses
        (b"[]", b"", None),
        (b"[" * 100_000, b"", None),
    ],
    ids=range(29),
)
def test_hostile_headers_are_refused_in_one_line(
    tmp_path: Path, header: object, data: bytes, length: int | None
) -> None:
    file = file_of(tmp_path, header, data, length)
    with pytest.raises(CheckpointError, match=r"stranger\.safetensors: ") as caught:
        open_safetensors(file)
    assert "\n" not in str(caught.value)


def test_an_absurd_empty_tensor_is_refused_when_read(tmp_path: Path) -> None:
    file = file_of(tmp_path, {"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}, b"")
    with pytest.raises(CheckpointError, match="'a' cannot be read") as caught:
        open_safetensors(file).tensors["a"]
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_with_flipped_bytes_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    save_file({"a": torch.ones(3), "b": torch.ones(2, 2).half()}, tmp_path / "x.safetensors")
    content = bytearray((tmp_path / "x.safetensors").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / "y.safetensors").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        file = open_safetensors(tmp_path / "y.safetensors")
        read = dict(file.tensors)
    except CheckpointError as error:
        assert "\n" not in str(error)
    else:
        assert {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in read.items()} == {
            name: file.tensors.spec(name) for name in file.tensors
        }


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {"epoch": None}, {"a": "b", "tags": ["x"]}, ["x"]])
def test_metadata_other_than_strings_is_said_to_be_that(tmp_path: Path, metadata: object) -> None:
    file = file_of(tmp_path, {"__metadata__": metadata, "a": A})
    with pytest.raises(CheckpointError, match="allows only strings") as caught:
        open_safetensors(file)
    assert "\n" not in str(caught.value)


BOMBS = {
    "bytes": b'{"__metadata__":{"note":"%s"}}' % (b"x" * (30 << 20)),
    "strings": b'{"__metadata__":{%s}}' % b",".join(b'"%x":""' % number for number in range(400_000)),
    "lists": b'{"a":{"x":[%s[]]}}' % (b"[]," * 1_900_000),
    "objects": b'{"a":{"x":[%s{}]}}' % (b'{"":0},' * 800_000),
    "escapes": b'{"__metadata__":{"note":"%s' % (b'\\"' * (3 << 20)),  # and never closed
    "wide": '{"__metadata__":{"\U0001f58b":"%s"}}'.__mod__("x" * (5 << 20)).encode(),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_header_takes_no_more_memory_than_is_said(text: bytes, tmp_path: Path) -> None:
    file = file_of(tmp_path, text, b"")
    tracemalloc.start()
    try:
        with suppress(CheckpointError):
            open_safetensors(file)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_notes_of_a_long_training_are_read(tmp_path: Path) -> None:
    tags = json.dumps({f"tag {number}": number for number in range(180_000)})
    assert len(tags) > 3 << 20
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", {"ss_tag_frequency": tags})
    assert open_safetensors(tmp_path / "x.safetensors").metadata == {"ss_tag_frequency": tags}
