"""Diffusers folders: variants, shards, pickles, older names, single components; and hostile ones."""

import json
import shutil
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]
WEIGHTS = "diffusion_pytorch_model"


def assert_same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(read) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor), name


def shard(file: Path, names: tuple[str, str], index: str) -> None:
    """Split a file's tensors over two shards, and name these in an index."""
    weights = load_file(file)
    halves = {names[0]: sorted(weights)[::2], names[1]: sorted(weights)[1::2]}
    for name, held in halves.items():
        save_file({key: weights[key] for key in held}, file.parent / name)
    weight_map = {key: name for name, held in halves.items() for key in held}
    (file.parent / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    file.unlink()


def test_a_folder_has_the_names_that_diffusers_expects(folder: Path) -> None:
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        f"unet/{WEIGHTS}.safetensors",
        "vae/config.json",
        f"vae/{WEIGHTS}.safetensors",
    }
    assert "down_blocks.0.attentions.0.proj_in.weight" in load_file(
        folder / "unet" / f"{WEIGHTS}.safetensors"
    )
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["safety_checker"] == [None, None]


def test_the_only_variant_is_taken(folder: Path, parts: Parts) -> None:
    unet = folder / "unet" / f"{WEIGHTS}.safetensors"
    unet.rename(folder / "unet" / f"{WEIGHTS}.fp16.safetensors")
    assert_same(open_checkpoint(folder).unet, parts["unet"])
    assert_same(open_checkpoint(folder, variant="fp16").unet, parts["unet"])


def test_a_variant_is_taken_when_it_is_asked_for(folder: Path, parts: Parts) -> None:
    unet = folder / "unet" / f"{WEIGHTS}.safetensors"
    half = {name: tensor.half() for name, tensor in load_file(unet).items()}
    save_file(half, folder / "unet" / f"{WEIGHTS}.fp16.safetensors")
    assert_same(open_checkpoint(folder).unet, parts["unet"])
    checkpoint = open_checkpoint(folder, variant="fp16")
    assert_same(checkpoint.unet, {name: tensor.half() for name, tensor in parts["unet"].items()})
    assert_same(checkpoint.vae, parts["vae"])  # which has no such variant


def test_a_variant_that_no_component_has_is_refused_with_those_there_are(folder: Path) -> None:
    unet = folder / "unet" / f"{WEIGHTS}.safetensors"
    shutil.copy(unet, folder / "unet" / f"{WEIGHTS}.fp16.safetensors")
    with pytest.raises(CheckpointError, match="no variant 'non_ema'; there is fp16"):
        open_checkpoint(folder, variant="non_ema")


def test_of_several_variants_one_must_be_chosen(folder: Path) -> None:
    unet = folder / "unet" / f"{WEIGHTS}.safetensors"
    shutil.copy(unet, folder / "unet" / f"{WEIGHTS}.fp16.safetensors")
    unet.rename(folder / "unet" / f"{WEIGHTS}.non_ema.safetensors")
    with pytest.raises(CheckpointError, match=r"several variants \(fp16, non_ema\)"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("shards", "index", "variant"),
    [
        (
            (f"{WEIGHTS}-00001-of-00002.safetensors", f"{WEIGHTS}-00002-of-00002.safetensors"),
            f"{WEIGHTS}.safetensors.index.json",
            None,
        ),
        (
            (f"{WEIGHTS}.fp16-00001-of-00002.safetensors", f"{WEIGHTS}.fp16-00002-of-00002.safetensors"),
            f"{WEIGHTS}.safetensors.index.fp16.json",
            "fp16",
        ),
    ],
)
def test_shards_are_one_component(
    folder: Path, parts: Parts, shards: tuple[str, str], index: str, variant: str | None
) -> None:
    shard(folder / "unet" / f"{WEIGHTS}.safetensors", shards, index)
    checkpoint = open_checkpoint(folder, variant=variant)
    assert_same(checkpoint.unet, parts["unet"])
    assert checkpoint.report().problems == ()


def test_pickled_folders_are_read(folder: Path, parts: Parts) -> None:
    for name, stem in (("unet", WEIGHTS), ("vae", WEIGHTS), ("text_encoder", "pytorch_model")):
        (file,) = (folder / name).glob("*.safetensors")
        torch.save(load_file(file), folder / name / f"{stem}.bin")
        file.unlink()
    for name, tensors in parts.items():
        assert_same(open_checkpoint(folder).components[name].tensors, tensors)


def test_safetensors_are_preferred_to_pickles(folder: Path, parts: Parts) -> None:
    (folder / "unet" / f"{WEIGHTS}.bin").write_bytes(b"not even a pickle")
    assert_same(open_checkpoint(folder).unet, parts["unet"])


def test_text_encoders_are_read_with_and_without_their_prefix(folder: Path, parts: Parts) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    assert all(name.startswith("text_model.") for name in load_file(file))
    save_file({name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}, file)
    assert_same(open_checkpoint(folder).text_encoder, parts["text_encoder"])


def test_the_vaes_older_names_are_read(folder: Path, parts: Parts) -> None:
    file = folder / "vae" / f"{WEIGHTS}.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(file)
    for new, old in older.items():
        weights = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in weights.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in weights
    save_file(weights, file)
    checkpoint = open_checkpoint(folder)
    assert_same(checkpoint.vae, parts["vae"])
    assert checkpoint.report().problems == ()


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_the_folder_of_one_component_opens(folder: Path, parts: Parts, component: str) -> None:
    checkpoint = open_checkpoint(folder / component)
    assert checkpoint.layout == "diffusers folder"
    assert list(checkpoint.components) == list(checkpoint.configs) == [component]
    assert_same(checkpoint.components[component].tensors, parts[component])


def test_a_folder_needs_no_configs(folder: Path, parts: Parts) -> None:
    for file in folder.rglob("*.json"):
        file.unlink()
    checkpoint = open_checkpoint(folder)
    assert checkpoint.configs == {}
    assert_same(checkpoint.unet, parts["unet"])


def test_a_component_in_anothers_folder_is_refused(folder: Path) -> None:
    shutil.copy(folder / "vae" / f"{WEIGHTS}.safetensors", folder / "unet" / f"{WEIGHTS}.safetensors")
    with pytest.raises(CheckpointError, match="holds vae where unet should be"):
        open_checkpoint(folder)


def test_an_inpainting_model_is_written_for_its_pipeline(
    parts: Parts, tmp_path: Path, laid_out: Callable[[str], dict[str, object]]
) -> None:
    unet = parts["unet"] | {"conv_in.weight": torch.zeros(4, 9, 3, 3)}
    save_checkpoint(tmp_path / "inpainting", unet=unet, **laid_out("diffusers folder"))
    index = json.loads((tmp_path / "inpainting" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInpaintPipeline"
    assert index["_diffusers_version"] == "0.6.0", "without one, that pipeline opens no folder"
    assert index["vae"] == [None, None]


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "..", "", "a/b.safetensors", "..\\x", "a\0b"]
)
def test_shards_outside_the_folder_are_refused(folder: Path, name: str) -> None:
    file = folder / "unet" / f"{WEIGHTS}.safetensors"
    (folder / "unet" / f"{WEIGHTS}.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": name}})
    )
    file.unlink()
    with pytest.raises(CheckpointError, match="outside its folder"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": []}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "missing.safetensors"}}',
    ],
    ids=range(8),
)
def test_damaged_indexes_are_refused_in_one_line(folder: Path, index: str) -> None:
    (folder / "unet" / f"{WEIGHTS}.safetensors").unlink()
    (folder / "unet" / f"{WEIGHTS}.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(folder / "unet") in str(caught.value)


def test_an_index_that_disagrees_with_its_shards_is_refused(folder: Path) -> None:
    file = folder / "unet" / f"{WEIGHTS}.safetensors"
    index = folder / "unet" / f"{WEIGHTS}.safetensors.index.json"
    shard(file, ("a.safetensors", "b.safetensors"), index.name)
    right = json.loads(index.read_text())["weight_map"]
    name = next(iter(right))
    for wrong, message in (
        (right | {"extra": "a.safetensors"}, "1 tensors, first 'extra', are not in their shards"),
        ({key: value for key, value in right.items() if key != name}, "are in shards only"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(folder)


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"\xff\xfe", b"3", b"[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(folder: Path, config: bytes) -> None:
    (folder / "vae" / "config.json").write_bytes(config)
    with pytest.raises(CheckpointError, match="JSON") as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights here"):
        open_checkpoint(tmp_path)


def test_a_folder_that_only_holds_a_single_file_names_it(single: Path) -> None:
    with pytest.raises(CheckpointError, match=r"open the file in it: 'single\.safetensors'"):
        open_checkpoint(single.parent)


def test_a_folder_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    with pytest.raises(CheckpointError, match="Stable Diffusion 3, Flux"):
        open_checkpoint(tmp_path)


def test_a_component_whose_weights_are_not_there_is_refused(folder: Path) -> None:
    (folder / "unet" / f"{WEIGHTS}.safetensors").unlink()
    with pytest.raises(CheckpointError, match="unet: no weights here"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "name",
    ["a\ud800.safetensors", "a\nb.safetensors", "\x1b[31m.safetensors", "a" * 300, "a\u2028.safetensors"],
)
def test_a_shard_with_an_odd_name_is_refused_in_one_line(name: str, folder: Path) -> None:
    (folder / "vae" / f"{WEIGHTS}.safetensors").unlink()
    index = folder / "vae" / f"{WEIGHTS}.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["unet/config.json", f"unet/{WEIGHTS}.safetensors.index.json"])
@pytest.mark.parametrize(
    "text",
    [b'{"a":"%s"}' % (b"x" * (30 << 20)), b'{"a":[%s0]}' % (b"[]," * 1_900_000)],
    ids=["bytes", "values"],
)
def test_a_json_file_takes_no_more_memory_than_is_said(text: bytes, name: str, folder: Path) -> None:
    (folder / name).write_bytes(text)
    if "index" in name:
        (folder / "unet" / f"{WEIGHTS}.safetensors").unlink()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="more than") as caught:
            open_checkpoint(folder)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()


def test_a_folder_of_an_odd_name_is_named_in_one_line(folder: Path) -> None:
    odd = folder.rename(folder.parent / "a\nb")
    (odd / "unet" / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"a\\nb/unet/config.json") as caught:
        open_checkpoint(odd)
    assert str(caught.value).isprintable()
