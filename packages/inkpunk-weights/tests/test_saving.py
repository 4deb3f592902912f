"""Saving is all or nothing, overwrites nothing silently, and writes nothing broken."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, LazyTensors, Spec, open_checkpoint, save_checkpoint
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]
LaidOut = Callable[[str], dict[str, object]]
LAYOUTS = ["single-file safetensors", "single-file ckpt", "diffusers folder"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_overwritten_silently(
    parts: Parts, tmp_path: Path, layout: str, laid_out: LaidOut
) -> None:
    for existing in (tmp_path / "file", tmp_path / "folder"):
        existing.mkdir() if existing.name == "folder" else existing.write_text("precious")
        with pytest.raises(CheckpointError, match="exists already"):
            save_checkpoint(existing, vae=parts["vae"], **laid_out(layout))
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_is_overwritten_when_asked(
    parts: Parts, tmp_path: Path, layout: str, laid_out: LaidOut
) -> None:
    save_checkpoint(tmp_path / "x", vae=parts["vae"], **laid_out(layout))
    save_checkpoint(tmp_path / "x", unet=parts["unet"], **laid_out(layout), overwrite=True)
    assert list(open_checkpoint(tmp_path / "x").components) == ["unet"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_checkpoint_can_be_written_over_the_one_it_comes_from(single: Path, parts: Parts) -> None:
    save_checkpoint(single, unet=open_checkpoint(single).unet, dtype=torch.float16, overwrite=True)
    assert torch.equal(open_checkpoint(single).unet["conv_in.weight"], parts["unet"]["conv_in.weight"].half())


def test_a_folder_that_is_no_model_is_never_replaced(parts: Parts, tmp_path: Path, laid_out: LaidOut) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    for layout in LAYOUTS:
        with pytest.raises(CheckpointError, match="home: is"):
            save_checkpoint(tmp_path / "home", vae=parts["vae"], **laid_out(layout), overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "fault", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "disk full"]
)
def test_an_interruption_leaves_what_was_there(
    parts: Parts,
    tmp_path: Path,
    layout: str,
    fault: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    laid_out: LaidOut,
) -> None:
    def interrupt(descriptor: int) -> None:
        raise fault

    save_checkpoint(tmp_path / "x", vae=parts["vae"], **laid_out(layout))
    monkeypatch.setattr(os, "fsync", interrupt)
    for path, overwrite in ((tmp_path / "x", True), (tmp_path / "new", False)):
        with pytest.raises(type(fault)):
            save_checkpoint(path, text_encoder=parts["text_encoder"], **laid_out(layout), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert list(open_checkpoint(tmp_path / "x").components) == ["vae"]


def test_an_interruption_halfway_leaves_nothing(parts: Parts, tmp_path: Path, laid_out: LaidOut) -> None:
    written: list[list[Path]] = []

    def read(name: str) -> Tensor:
        if name == "decoder.conv_out.bias":  # among the last
            written.append([path for path in tmp_path.rglob("*") if path.is_file()])
            raise KeyboardInterrupt
        return parts["vae"][name]

    specs = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in parts["vae"].items()}
    for layout in LAYOUTS:
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path / "x", vae=LazyTensors(specs, read), **laid_out(layout))
        assert list(tmp_path.iterdir()) == []
    assert len(written) == len(LAYOUTS)
    assert all(written)  # something was there when it struck


def test_a_broken_component_is_not_written_and_everything_wrong_is_told(parts: Parts, tmp_path: Path) -> None:
    unet = parts["unet"] | {"extra.weight": torch.zeros(1), "conv_out.bias": torch.zeros(5)}
    del unet["norm_out.weight"]
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "x", unet=unet)
    for problem in (
        "lacks norm_out.weight",
        "no tensor called 'extra.weight'",
        "conv_out.bias is [5], expected [4]",
    ):
        assert problem in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to write"),
        ({"vae": {}}, "nothing to write"),
        ({"dtype": torch.int8}, "cannot be torch.int8"),
        ({"extra_files": {"tokenizer/vocab.json": b""}}, "no room for configs or extra files"),
        ({"configs": {"unet": {}}}, "no room for configs or extra files"),
        ({"layout": "diffusers folder", "configs": {"clip": {}}}, "no config is called 'clip'"),
        ({"layout": "diffusers folder", "extra_files": {"../x": b""}}, "an extra file cannot be called"),
        ({"layout": "diffusers folder", "extra_files": {"/x": b""}}, "an extra file cannot be called"),
        (
            {"layout": "diffusers folder", "extra_files": {"vae/config.json": b""}},
            "an extra file cannot be called",
        ),
        ({"layout": "single-file ckpt", "metadata": {"state_dict": ""}}, 'cannot be called "state_dict"'),
    ],
)
def test_impossible_requests_are_refused_and_write_nothing(
    parts: Parts, tmp_path: Path, laid_out: LaidOut, arguments: dict[str, object], message: str
) -> None:
    whole = {"vae": parts["vae"]} if message != "nothing to write" else {}
    if arguments.get("layout") == "diffusers folder":
        arguments = laid_out("diffusers folder") | arguments
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path / "x", **(whole | arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("component", "configs", "words"),
    [
        ("text_encoder", {}, "text_encoder's width 4 does not divide by num_attention_heads, 12"),
        ("unet", {"norm_num_groups": 2}, "unet's width 4 does not divide by attention_head_dim, 8"),
        ("unet", {"attention_head_dim": 2}, "unet's width 4 does not divide by norm_num_groups, 32"),
        ("vae", {}, "vae's width 4 does not divide by norm_num_groups, 32"),
        ("text_encoder", {"num_attention_heads": 3}, "num_attention_heads, 3"),
        ("text_encoder", {"num_attention_heads": 0}, "num_attention_heads, 0"),
        ("text_encoder", {"num_attention_heads": None}, "num_attention_heads, None"),
        ("text_encoder", {"num_attention_heads": "2"}, "num_attention_heads, '2'"),
        ("unet", {"attention_head_dim": [2, 4], "norm_num_groups": 2}, "width 6 does not divide by"),
        ("unet", {"attention_head_dim": [2], "norm_num_groups": 2}, "attention_head_dim has 1 for 2 levels"),
    ],
)
def test_a_folder_that_no_program_would_load_is_not_written(
    parts: Parts, tmp_path: Path, component: str, configs: dict[str, object], words: str
) -> None:
    given = {component: parts[component]}
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "x", **given, layout="diffusers folder", configs={component: configs})
    message = str(caught.value)
    assert words in message and "x: not written" in message
    assert "configs=" in message and message.isprintable()
    assert list(tmp_path.iterdir()) == []


def test_everything_that_does_not_divide_is_told_at_once(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path / "x", **parts, layout="diffusers folder")
    assert str(caught.value).endswith(
        "say what it was trained with: configs={'text_encoder': {'num_attention_heads': ...}, 'unet': "
        "{'attention_head_dim': ..., 'norm_num_groups': ...}, 'vae': {'norm_num_groups': ...}}"
    )


def test_heads_may_differ_from_level_to_level(parts: Parts, tmp_path: Path) -> None:
    configs = {"unet": {"attention_head_dim": [4, 3], "norm_num_groups": 2}}
    save_checkpoint(tmp_path / "x", unet=parts["unet"], layout="diffusers folder", configs=configs)
    assert open_checkpoint(tmp_path / "x").configs["unet"]["attention_head_dim"] == [4, 3]


def test_a_folder_that_does_not_exist_is_not_made(parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="create it first"):
        save_checkpoint(tmp_path / "nowhere" / "x", **parts)


def test_extra_files_stand_beside_the_weights(parts: Parts, tmp_path: Path, laid_out: LaidOut) -> None:
    extra = {"tokenizer/merges.txt": b"#version", "README.md": b"hello"}
    save_checkpoint(tmp_path / "x", **parts, **laid_out("diffusers folder"), extra_files=extra)
    assert {name: (tmp_path / "x" / name).read_bytes() for name in extra} == extra
    assert '"CLIPTokenizer"' in (tmp_path / "x" / "model_index.json").read_text()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_and_strided_tensors_are_written_as_they_look(
    parts: Parts, tmp_path: Path, layout: str, laid_out: LaidOut
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, tensor in parts["vae"].items():
        last = tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.flip(0)
        tensors[name] = torch.nn.Parameter(last)
    save_checkpoint(tmp_path / "x", vae=tensors, **laid_out(layout))
    read = open_checkpoint(tmp_path / "x").vae
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_written_file_may_be_read_by_whom_the_system_allows(
    parts: Parts, tmp_path: Path, layout: str, laid_out: LaidOut
) -> None:
    (tmp_path / "ordinary").write_text("")
    save_checkpoint(tmp_path / "x", vae=parts["vae"], **laid_out(layout))
    files = [path for path in (tmp_path / "x", *tmp_path.rglob("x/**/*")) if path.is_file()]
    assert {file.stat().st_mode for file in files} == {(tmp_path / "ordinary").stat().st_mode}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_killed_processes_left_is_cleared_and_nothing_else(
    parts: Parts, tmp_path: Path, layout: str, laid_out: LaidOut
) -> None:
    def make(name: str, *inside: str, age: int = 3700) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if inside:
            path.mkdir()
        for each in (*(path / each for each in inside), path):
            if not inside or each != path:
                each.touch()
            os.utime(each, (time.time() - age, time.time() - age))

    (tmp_path / "y").mkdir()
    make(".x.0123abcd.partial")  # a file's
    make(".y.0123abcd.partial", "model_index.json")  # a folder's
    make(".inkpunk-abcd_123", "scratch.safetensors")
    kept = {
        ".z.0123abcd.partial",
        ".y.9999abcd.partial",
        ".x.9999abcd.partial",
        ".inkpunk-notes123",
        ".mine.partial",
    }
    make(".z.0123abcd.partial", "model_index.json")  # the only copy, perhaps
    make(".y.9999abcd.partial", "thesis.txt")
    make(".x.9999abcd.partial", age=60)  # somebody is at it
    make(".inkpunk-notes123", "thesis.txt")
    make(".mine.partial")
    save_checkpoint(tmp_path / "x", vae=parts["vae"], **laid_out(layout))
    assert {path.name for path in tmp_path.iterdir()} == {"x", "y", *kept}
