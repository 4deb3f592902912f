"""Names that training, torch and the hub's cache leave on weights are found; reports keep the file's own."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint
from inkpunk_weights.averages import averaged_unet, ema_name
from safetensors.torch import load_file, save_file
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]
UNET = "model.diffusion_model."


def assert_same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(read) == set(expected)
    assert all(torch.equal(read[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod.", "_fsdp_wrapped_module."])
@pytest.mark.parametrize("place", ["", UNET, UNET + "input_blocks.1.0."])
def test_wrappers_are_seen_through_anywhere(single: Path, parts: Parts, wrapper: str, place: str) -> None:
    weights = {
        place + wrapper + name.removeprefix(place) if name.startswith(place) else name: tensor
        for name, tensor in load_file(single).items()
    }
    save_file(weights, single)
    checkpoint = open_checkpoint(single)
    for name, tensors in parts.items():
        assert_same(checkpoint.components[name].tensors, tensors)
    assert checkpoint.report().problems == ()


def test_what_is_missing_has_its_wrapped_name(single: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in load_file(single).items()}
    del weights[f"module.{UNET}out.2.bias"]
    save_file(weights, single)
    assert open_checkpoint(single).report().problems == (f"unet: missing: 'module.{UNET}out.2.bias'",)


def test_a_wrapped_name_beside_the_plain_one_is_a_problem(single: Path) -> None:
    name = f"{UNET}out.2.bias"
    save_file(load_file(single) | {f"module.{name}": torch.zeros(4)}, single)
    (problem,) = open_checkpoint(single).report().problems
    assert "means the same as" in problem


def test_wrappers_in_a_folder_are_seen_through(folder: Path, parts: Parts) -> None:
    for file in folder.glob("*/*.safetensors"):
        save_file({f"_orig_mod.{name}": tensor for name, tensor in load_file(file).items()}, file)
    for name, tensors in parts.items():
        assert_same(open_checkpoint(folder).components[name].tensors, tensors)


def test_components_under_their_folders_names_are_one_file(
    folder: Path, parts: Parts, tmp_path: Path
) -> None:
    weights = {
        f"{file.parent.name}._orig_mod.{name}": tensor
        for file in folder.glob("*/*.safetensors")
        for name, tensor in load_file(file).items()
    }
    save_file(weights, tmp_path / "whole.safetensors")
    checkpoint = open_checkpoint(tmp_path / "whole.safetensors")
    for name, tensors in parts.items():
        assert_same(checkpoint.components[name].tensors, tensors)


@pytest.mark.parametrize("wrapper", ["", "_orig_mod."])
def test_averages_are_taken_where_there_is_nothing_else(single: Path, parts: Parts, wrapper: str) -> None:
    weights = {
        ema_name(UNET + wrapper + name.removeprefix(UNET)) if name.startswith(UNET) else name: tensor
        for name, tensor in load_file(single).items()
    }
    save_file(weights | {"model_ema.decay": torch.zeros(())}, single)
    checkpoint = open_checkpoint(single)
    assert_same(checkpoint.unet, parts["unet"])
    assert checkpoint.leftovers == ("model_ema.decay",)
    assert checkpoint.report().problems == ()
    assert "moving averages (EMA)" in str(checkpoint.report())


def test_dots_come_back_where_they_were() -> None:
    names = [UNET + name for name in ("input_blocks.11.0.in_layers.0.weight", "output_blocks.2.1.conv.bias")]
    assert averaged_unet(map(ema_name, names)) == names


@pytest.mark.parametrize("index", ["safetensors.fp16.index.json", "safetensors.index.fp16.json"])
def test_shards_of_older_diffusers_are_read(folder: Path, parts: Parts, index: str) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    shard = "diffusion_pytorch_model-00001-of-00001.fp16.safetensors"
    file.rename(file.parent / shard)
    with pytest.raises(CheckpointError, match="not their index"):
        open_checkpoint(folder)
    told = json.dumps({"weight_map": dict.fromkeys(weights, shard)})
    (file.parent / f"diffusion_pytorch_model.{index}").write_text(told)
    assert_same(open_checkpoint(folder, variant="fp16").unet, parts["unet"])


@pytest.mark.parametrize("main", ["abc", "gone", None])
def test_a_folder_of_the_hubs_cache_leads_to_its_snapshot(
    folder: Path, tmp_path: Path, main: str | None
) -> None:
    cached = tmp_path / "models--ink--punk"
    (cached / "snapshots").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no snapshot of this model"):
        open_checkpoint(cached)
    folder.rename(cached / "snapshots" / "abc")
    if main:
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(main)
    assert open_checkpoint(cached).path == cached / "snapshots" / "abc"
