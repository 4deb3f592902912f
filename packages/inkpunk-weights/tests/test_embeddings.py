"""Embeddings of every program are read as vectors and names; all else is refused, and nothing is run."""

import collections
import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights import EMBEDDING_FILES, CheckpointError, Embedding, open_embedding
from safetensors.torch import save, save_file
from torch import Tensor

FORMATS = ("zip", "legacy")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn)
TWO = torch.arange(6.0).reshape(2, 3)


def saved(content: object, format: str = "zip") -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=format == "zip")
    return buffer.getvalue()


def webui(vectors: object, key: str = "*", **more: object) -> dict[str, object]:
    """What AUTOMATIC1111 saves."""
    notes = {"name": "neon", "step": 500, "sd_checkpoint": "81761151", "sd_checkpoint_name": "v1-5-pruned"}
    return {"string_to_token": {key: 265}, "string_to_param": {key: vectors}, **notes, **more}


def opened(data: bytes, name: str = "word.pt") -> Embedding:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return open_embedding(path)  # its vectors outlive the file


def refusal(data: bytes, name: str = "word.pt") -> str:
    with pytest.raises(CheckpointError) as error:
        opened(data, name)
    message = str(error.value)
    assert f"{name}: " in message
    assert message.isprintable()
    return message


def assert_holds(embedding: Embedding, vectors: Tensor) -> None:
    assert embedding.vectors.dtype == torch.float32
    assert embedding.vectors.is_contiguous()
    assert not embedding.vectors.requires_grad
    assert torch.equal(embedding.vectors, vectors.to(torch.float32))


# What programs write.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("wrap", [torch.Tensor.clone, torch.nn.Parameter, torch.Tensor.t])
def test_automatic1111_s_are_read(wrap: Callable[[Tensor], Tensor], format: str, dtype: torch.dtype) -> None:
    vectors = wrap(torch.randn(4, 3).to(dtype))
    embedding = opened(saved(webui(vectors), format))
    assert_holds(embedding, vectors.detach())
    assert embedding.path.name == "word.pt"
    assert embedding.names == ("word", "neon")
    assert (embedding.step, embedding.model) == (500, "v1-5-pruned")


def old_parameter_dict(**parameters: Tensor) -> torch.nn.ParameterDict:
    """As torch made them up to 1.11, where parameters were all that they could hold."""
    made = torch.nn.ParameterDict.__new__(torch.nn.ParameterDict)
    hooks = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks")
    made.__dict__.update(
        training=True,
        _parameters=collections.OrderedDict(parameters),
        _buffers=collections.OrderedDict(),
        _non_persistent_buffers_set=set(),
        **{hook: collections.OrderedDict() for hook in hooks},
        _modules=collections.OrderedDict(),
    )
    return made


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("make", [torch.nn.ParameterDict, lambda given: old_parameter_dict(**given)])
def test_parameter_dicts_are_read(make: Callable[[Mapping[str, Tensor]], object], format: str) -> None:
    content = {
        "string_to_token": {"*": torch.tensor(265)},
        "string_to_param": make({"*": torch.nn.Parameter(TWO)}),
    }
    embedding = opened(saved(content, format))
    assert_holds(embedding, TWO)
    assert embedding.names == ("word",)
    assert (embedding.step, embedding.model) == (None, None)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("7") + text("cpu") + b"K\x06" + b"%btQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"
PARAMETER = b"ctorch._utils\n_rebuild_parameter\n" + TENSOR + b"\x88ccollections\nOrderedDict\n)R\x87R"
CLASS = b"ctorch.nn.modules.container\nParameterDict\n"
WITH_SOURCE = (
    b"(" + text("module") + CLASS + text("container.py") + text("class ParameterDict(Module): ...") + b"tQ"
)
BACKEND = b"ctorch.nn.backends.thnn\n_get_thnn_function_backend\n)R"  # in every module of torch 1.0
EMPTY = b"ccollections\nOrderedDict\n)R"
NUMBERS = TWO.numpy().tobytes()


def by_hand(cls: bytes, part: bytes) -> bytes:
    """The pickle of an embedding as torch 1.0 wrote it."""
    state = b"".join(
        [
            *(text("_backend"), BACKEND),
            *(text("_parameters"), EMPTY, b"(", text("*"), PARAMETER.replace(b"%b", part), b"u"),
            *(text("_buffers"), EMPTY, text("_backward_hooks"), EMPTY),
            *(text("_modules"), EMPTY, text("training"), b"\x88"),
        ]
    )
    return b"\x80\x02}" + text("string_to_param") + cls + b")\x81}(" + state + b"ubs."


def hand_made_legacy() -> bytes:
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    start = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, info))
    keys = pickle.dumps(["7"], 2) + struct.pack("<q", 6)
    return start + by_hand(WITH_SOURCE, b"N") + keys + NUMBERS


def hand_made_zip(method: int = zipfile.ZIP_STORED, numbers: bytes = NUMBERS) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("archive/data.pkl", by_hand(CLASS, b""))
        file.writestr("archive/data/7", numbers)
    return buffer.getvalue()


@pytest.mark.parametrize("data", [hand_made_legacy(), hand_made_zip(), hand_made_zip(zipfile.ZIP_DEFLATED)])
def test_parameter_dicts_of_the_first_torches_are_read(data: bytes) -> None:
    assert_holds(opened(data), TWO)


@pytest.mark.parametrize("vectors", [TWO, TWO[1]])
@pytest.mark.parametrize("write", [saved, lambda content: saved(content, "legacy"), save])
def test_diffusers_are_read(write: Callable[[dict[str, Tensor]], bytes], vectors: Tensor) -> None:
    data = write({"<cat toy>": vectors.clone()})
    assert_holds(opened(data), vectors.reshape(-1, 3))
    assert opened(data, "toy.bin").names == ("toy", "<cat toy>")
    assert opened(data, "<cat toy>.bin").names == ("<cat toy>",)
    for stem in ("learned_embeds", "learned_embeds-steps-500", "diffusion_pytorch_model", "embedding"):
        assert opened(data, f"{stem}.safetensors").names == ("<cat toy>",)


@pytest.mark.parametrize("key", ["emb_params", "clip_l"])
@pytest.mark.parametrize("write", [saved, save])
def test_files_without_a_word_go_by_their_name(write: Callable[[dict[str, Tensor]], bytes], key: str) -> None:
    embedding = opened(write({key: TWO}), "neon.v2.safetensors")
    assert_holds(embedding, TWO)
    assert embedding.names == ("neon.v2",)
    assert opened(write({key: TWO}), "embedding.pt").names == ("embedding",)


def test_notes_of_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "word.safetensors"
    kohya = {"ss_output_name": "other", "modelspec.title": "Other", "name": "neon"}
    save_file({"emb_params": TWO}, path, kohya)
    assert open_embedding(path).names == ("word", "neon")
    ai_toolkit = {"name": '"n\\u00e9on"', "step": "500", "sd_checkpoint_name": "null"}
    save_file({"emb_params": TWO}, path, ai_toolkit)
    embedding = open_embedding(str(path))
    assert (embedding.names, embedding.step, embedding.model) == (("word", "néon"), 500, None)
    save_file({"emb_params": TWO}, path, {"name": "[" * 200, "step": "9" * 200})
    assert open_embedding(path).names == ("word", "[" * 200)
    assert open_embedding(path).step is None


@pytest.mark.parametrize("width", [1, 768, 1024, 1280])
@pytest.mark.parametrize("count", [1, 75])
def test_any_width_is_read(count: int, width: int) -> None:
    assert opened(saved(webui(torch.zeros(count, width)))).vectors.shape == (count, width)


def test_vectors_are_a_copy_that_no_file_backs(tmp_path: Path) -> None:
    path = tmp_path / "word.safetensors"
    path.write_bytes(save({"emb_params": TWO}))
    first = open_embedding(path)
    first.vectors.fill_(7)
    assert_holds(open_embedding(path), TWO)
    path.write_bytes(b"")
    assert first.vectors.tolist() == [[7] * 3] * 2


def test_only_the_vectors_of_a_larger_storage_are_taken() -> None:
    embedding = opened(saved({"<word>": torch.arange(3000.0).reshape(1000, 3)[5]}))
    assert embedding.vectors.tolist() == [[15, 16, 17]]
    assert embedding.vectors.untyped_storage().nbytes() == 12


# Names.


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("neon", ("word", "neon")),
        ("  neon\n", ("word", "neon")),
        ("word", ("word",)),
        ("x" * 200, ("word", "x" * 200)),
        ("x" * 201, ("word",)),
        ("日本 <猫>", ("word", "日本 <猫>")),
        *(
            (useless, ("word",))
            for useless in ("", " ", "*", " * ", "a\x1b[31m", "a\nb", "\u202eevil", None, 5)
        ),
    ],
)
def test_names_that_no_prompt_could_hold_are_dropped(name: object, names: tuple[str, ...]) -> None:
    assert opened(saved(webui(TWO, name=name))).names == names


def test_a_token_of_its_own_is_a_name_too() -> None:
    assert opened(saved(webui(TWO, "<tok>"))).names == ("word", "neon", "<tok>")


@pytest.mark.parametrize("stem", ["*", " ", "a\tb", "x" * 201, os.fsdecode(b"\xff")])
def test_a_file_s_own_name_is_dropped_where_no_prompt_could_hold_it(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.bin"
    path.write_bytes(saved({"<neon>": TWO}))
    assert open_embedding(path).names == ("<neon>",)
    path.write_bytes(saved({"emb_params": TWO}))
    with pytest.raises(CheckpointError, match="rename the file") as error:
        open_embedding(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("step", [None, True, -1, 2**63, 0.5, "500"])
def test_steps_that_are_no_count_are_dropped(step: object) -> None:
    assert opened(saved(webui(TWO, step=step, sd_checkpoint_name=step or ""))).step is None


# What is refused.

NAN, INFINITY = torch.tensor([[0.0, float("nan")]]), torch.tensor([[0.0, float("-inf")]])
LORA = {"lora_unet_mid.lora_up.weight": TWO, "lora_unet_mid.lora_down.weight": TWO + 1}


def in_safetensors(content: dict[str, Tensor]) -> bytes:
    """As `save`, which in the oldest version that is taken writes no complex numbers."""
    [(name, tensor), *_] = content.items()
    if tensor.dtype is not torch.complex64:
        return save(content)
    numbers = tensor.numpy().tobytes()
    entry = {"dtype": "C64", "shape": [*tensor.shape], "data_offsets": [0, len(numbers)]}
    header = json.dumps({name: entry}).encode()
    return struct.pack("<Q", len(header)) + header + numbers


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"clip_l": TWO, "clip_g": TWO + 1}, "Stable Diffusion XL or a later model ('clip_"),
        ({"clip_g": TWO}, "use one made for Stable Diffusion v1"),
        ({"clip_l": TWO, "t5xxl": TWO + 1}, "Stable Diffusion XL or a later model"),
        (LORA, "not a textual inversion embedding but a LoRA"),
        ({"control_model.x": TWO, "y": TWO + 1}, "not a textual inversion embedding but a ControlNet"),
        ({"<a>": TWO, "<b>": TWO + 1}, "it holds 2 tensors ('<a>', '<b>')"),
        ({"a.weight": TWO, "a.bias": TWO[0].clone()}, "not one textual inversion embedding"),
        ({"emb_params": TWO.long()}, "'emb_params' is torch.int64"),
        ({"emb_params": TWO.to(torch.complex64)}, "complex64"),
        ({"emb_params": TWO.bool()}, "torch.bool"),
        ({"emb_params": NAN}, "NaN or infinity"),
        ({"emb_params": INFINITY}, "NaN or infinity"),
        ({"emb_params": INFINITY.half()}, "NaN or infinity"),
        ({"emb_params": torch.full((2, 2), 1e300, dtype=torch.float64)}, "infinity in float32"),
        ({"emb_params": torch.zeros(0, 3)}, "no vector at all"),
        ({"emb_params": torch.zeros(3, 0)}, "no vector at all"),
        ({"emb_params": torch.zeros(0)}, "no vector at all"),
        ({"emb_params": torch.zeros(76, 3)}, "76 vectors, and a prompt has room for 75"),
        ({"emb_params": torch.tensor(1.0)}, "has 0 dimensions"),
        ({"emb_params": torch.zeros(1, 2, 3)}, "has 3 dimensions"),
    ],
)
@pytest.mark.parametrize("write", [saved, lambda content: saved(content, "legacy"), in_safetensors])
def test_what_is_no_embedding_is_refused(
    write: Callable[[dict[str, Tensor]], bytes], content: dict[str, Tensor], reason: str
) -> None:
    message = refusal(write(content))
    if write is in_safetensors and any(tensor.is_complex() for tensor in content.values()):
        assert (
            "C64" in message or "deserializing header" in message
        )  # which the oldest safetensors does not know
    else:
        assert reason in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "no tensors by name"),
        ({"string_to_param": {}}, "no tensors by name"),
        (
            {"state_dict": {"<a>": TWO}},
            "no tensors by name, at its top or in 'string_to_param', but 'state_dict'",
        ),
        ({"string_to_param": {"*": [1.0, 2.0]}}, "no tensors by name"),
        ({"string_to_param": {"<a>": TWO, "<b>": TWO}}, "it holds 2 tensors"),
        ({"string_to_param": torch.nn.ParameterDict()}, "no tensors by name"),
        ({"string_to_param": torch.nn.Linear(1, 1)}, "'torch.nn.modules.linear.Linear' object"),
        (torch.nn.Linear(1, 1), "'torch.nn.modules.linear.Linear' object"),
        (TWO, "a single tensor"),
        ([TWO], "a list"),
        (webui(torch.zeros(1, 1).expand(9, 9)), "repeats numbers"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_what_torch_saved_of_another_kind_is_refused(content: object, reason: str, format: str) -> None:
    assert reason in refusal(saved(content, format))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x00" * 100, "not a file that torch.save wrote"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "not a file that torch.save wrote"),
        (saved(webui(TWO))[:-30], "cut short"),
        (saved(webui(TWO), "legacy")[:-1], "cut short"),
        (save({"emb_params": TWO})[:-1], "damaged safetensors"),
        (save({}), "holds 0 tensors"),
        (struct.pack("<Q", 2**40) + b"{}", "its header takes"),
    ],
    ids=range(10),  # some of what torch saves is random
)
def test_damaged_files_are_refused(data: bytes, reason: str) -> None:
    assert reason in refusal(data)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: no such file"):
        open_embedding(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="a folder"):
        open_embedding(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_embedding(tmp_path / ("x" * 300))
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_embedding("a\0b.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match=r"pipe\.pt: not a file"):
        open_embedding(tmp_path / "pipe.pt")


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(4 << 30)
    with pytest.raises(CheckpointError, match="a LoRA or a whole checkpoint"):
        open_embedding(path)


# What is hostile.


class Evil:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> object:
        return self.call


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_in_a_file_is_run(tmp_path: Path, format: str) -> None:
    marker = tmp_path / "marker"
    evil = Evil(os.system, f"touch '{marker}'")
    embedding = opened(saved(webui(TWO, sd_checkpoint=evil, name=evil), format))
    assert embedding.names == ("word",)
    assert "no tensors by name" in refusal(saved({"string_to_param": {"*": evil}}, format))
    assert "system' object" in refusal(saved({"string_to_param": evil}, format))
    assert "system' object" in refusal(saved(evil, format))
    assert not marker.exists()
    torch.load(io.BytesIO(saved(evil, format)), weights_only=False)
    assert marker.exists()  # so this test would notice


def test_a_state_that_would_run_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    holder: Any = old_parameter_dict(**{"*": torch.nn.Parameter(TWO)})
    holder.__dict__["_modules"] = Evil(os.system, f"touch '{marker}'")
    assert_holds(opened(saved({"string_to_param": holder})), TWO)
    assert not marker.exists()


def test_what_unpacks_to_much_is_refused() -> None:
    noise = torch.randint(256, (200_000,), dtype=torch.uint8).numpy().tobytes()
    bomb = hand_made_zip(zipfile.ZIP_DEFLATED, noise + bytes(17 << 20))
    assert len(bomb) < 300_000
    assert "would unpack to" in refusal(bomb)


def test_what_describes_too_much_is_refused() -> None:
    content = webui(TWO, notes="x" * (3 << 20))
    assert "bytes, more than the 2,097,152 we read" in refusal(saved(content))
    assert "more than the 2,097,152 we read" in refusal(saved(content, "legacy"))
    assert "its header takes" in refusal(save({"emb_params": TWO}, {"notes": "x" * (3 << 20)}))
    assert "more than 50,000 steps" in refusal(saved(webui(TWO, notes=list(range(50_000)))))
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as file:
        for number in range(10_001):
            file.writestr(str(number), b"")
    assert "10,001 records" in refusal(many.getvalue())


VALID = [
    saved(webui(TWO)),
    saved(webui(TWO), "legacy"),
    saved({"string_to_param": old_parameter_dict(**{"*": torch.nn.Parameter(TWO)})}, "zip"),
    hand_made_legacy(),
    hand_made_zip(zipfile.ZIP_DEFLATED),
    saved({"<word>": TWO[0].clone()}),
    save({"emb_params": TWO}, {"name": '"neon"', "step": "500"}),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        damage = draw(st.sampled_from(["flip", "set", "cut", "fill", "insert", "remove", "move"]))
        if damage == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif damage == "set" and at < len(data):
            data[at] = draw(st.integers(0, 255))
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


def reads_or_refuses(data: bytes) -> None:
    try:
        embedding = opened(data)
    except CheckpointError as error:
        assert str(error).isprintable()
    else:
        assert embedding.vectors.isfinite().all()
        assert 1 <= len(embedding.vectors) <= 75
        assert embedding.names[0] == "word"
        assert all(name.isprintable() for name in embedding.names)


@settings(deadline=None, max_examples=300)
@given(damaged_files())
def test_any_damage_is_read_or_refused(data: bytes) -> None:
    reads_or_refuses(data)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([b"", b"PK\x03\x04", VALID[1][:15], struct.pack("<Q", 30) + b"{"]),
    st.binary(max_size=100),
)
def test_any_bytes_are_read_or_refused(start: bytes, data: bytes) -> None:
    reads_or_refuses(start + data)


def test_a_folder_can_be_listed_by_suffix() -> None:
    assert EMBEDDING_FILES == (".pt", ".bin", ".safetensors")
