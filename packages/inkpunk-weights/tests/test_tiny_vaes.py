"""Tiny autoencoders are read in every published layout, whole; all else is refused by what it is."""

import re
from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint, open_tiny_vae
from safetensors.torch import save_file
from torch import Tensor

Named = dict[str, Tensor]


def half(name: str, latents: int = 4, width: int = 4, start: int = 0) -> Named:
    """A half with TAESD's layers: convolutions, blocks, enlargements (u) and an activation (o) after the first."""
    is_decoder = name == "decoder"
    layers = "cobbbucbbbucbbbucbc" if is_decoder else "cbcbbbcbbbcbbbc"
    draw = torch.Generator().manual_seed(start + latents)
    tensors: Named = {}
    for number, kind in enumerate(layers, start):
        outer = number == start or number - start == len(layers) - 1
        inputs = outputs = width
        if number == start:
            inputs = latents if is_decoder else 3
        elif outer:
            outputs = 3 if is_decoder else latents
        names = {"c": [f"{number}."], "b": [f"{number}.conv.{n}." for n in (0, 2, 4)]}.get(kind, [])
        for each in names:
            tensors[f"{each}weight"] = torch.randn(outputs, inputs, 3, 3, generator=draw)
            if kind == "b" or outer:
                tensors[f"{each}bias"] = torch.randn(outputs, generator=draw)
    return tensors


def prefixed(prefix: str, tensors: Named) -> Named:
    return {prefix + name: tensor for name, tensor in tensors.items()}


DECODER, ENCODER = half("decoder"), half("encoder")
BOTH = prefixed("encoder.layers.", ENCODER) | prefixed("decoder.layers.", DECODER)


def saved(tensors: Named, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def test_numbers_are_those_of_taesds_published_files() -> None:
    assert {int(name.split(".")[0]) for name in half("decoder", start=1)} == {
        1,
        3,
        4,
        5,
        7,
        8,
        9,
        10,
        12,
        *range(13, 16),
        17,
        18,
        19,
    }
    assert {int(name.split(".")[0]) for name in ENCODER} == set(range(15))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    "tensors",
    [
        BOTH,
        prefixed("encoder.", ENCODER) | prefixed("decoder.", half("decoder", start=1)),
        prefixed("taesd_encoder.", ENCODER) | prefixed("taesd_decoder.", half("decoder", start=1)),
        half("decoder", start=1),
        prefixed("decoder.layers.", DECODER),
    ],
)
def test_every_layout_is_read_under_our_names(tmp_path: Path, tensors: Named, suffix: str) -> None:
    opened = open_tiny_vae(saved(tensors, tmp_path / f"tiny{suffix}"))
    assert len(opened.tensors) == len(tensors)
    last = [name for name in tensors if name.endswith(("19.weight", "decoder.layers.18.weight"))]
    assert torch.equal(opened.tensors["decoder.conv_out.weight"], tensors[last[0]])
    assert sum(".levels.0.blocks." in name for name in opened.tensors) == 18 + 6 * (
        "encoder.conv_in.weight" in opened.tensors
    )
    assert opened.tensors["decoder.levels.2.resample.conv.weight"].shape == (4, 4, 3, 3)


def test_diffusers_folder_is_read_and_a_whole_model_s_is_not(tmp_path: Path) -> None:
    saved(BOTH, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    assert len(open_tiny_vae(tmp_path).tensors) == len(BOTH)
    whole = tmp_path / "whole"
    (whole / "vae").mkdir(parents=True)
    saved({"encoder.conv_in.weight": torch.zeros(1)}, whole / "vae/diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match="not a tiny autoencoder but a checkpoint's folder") as refusal:
        open_tiny_vae(whole)
    assert refusal.value.found == "checkpoint"


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        (ENCODER, "the encoder of TAESD alone; .* get that"),
        (
            half("decoder", latents=16, start=1),
            "for Stable Diffusion 3, Flux or another model, of 16 latent channels",
        ),
        (half("decoder", latents=12, start=1), "for another model, of 12 latent channels and not 4"),
        (
            {**half("decoder", start=1), "vae_scale": torch.ones(1)},
            "'vae_scale' is no part of a tiny autoencoder",
        ),
        ({**half("decoder", start=1), "3.skip.weight": torch.ones(4, 4, 1, 1)}, "'3.skip.weight' is no part"),
        (
            {**half("decoder", start=1), "4.conv.2.weight": torch.ones(4, 4)},
            r"'4.conv.2.weight' is torch.float32 of",
        ),
        ({"0.weight": torch.ones(4, 4), "2.weight": torch.ones(4, 4)}, "no layer of one among its 2 tensors"),
        (
            {"control_model.input_hint_block.0.weight": torch.ones(1)},
            "not a tiny autoencoder but a ControlNet",
        ),
        ({"lora_unet_mid_block.lora_up.weight": torch.ones(1)}, "not a tiny autoencoder but a LoRA"),
        ({"double_blocks.0.weight": torch.ones(1)}, "not a tiny autoencoder but a Flux"),
    ],
)
def test_what_is_something_else_is_refused_by_what_it_is(
    tmp_path: Path, tensors: Named, complaint: str
) -> None:
    path = saved(tensors, tmp_path / "tiny.safetensors")
    with pytest.raises(CheckpointError, match=complaint) as refusal:
        open_tiny_vae(path)
    assert str(refusal.value).startswith(f"{path}: ") and str(refusal.value).isprintable()


def test_a_file_that_lacks_any_one_layer_or_tensor_is_refused(tmp_path: Path) -> None:
    for tensors in (half("decoder", start=1), BOTH):
        layers = {re.match(r".*?\d+\.", name)[0] for name in tensors}
        for gone in [*tensors, *layers]:
            rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(gone)}
            with pytest.raises(CheckpointError, match=r"incomplete|should be|no part"):
                open_tiny_vae(saved(rest, tmp_path / "tiny.safetensors"))


def test_a_part_of_a_checkpoint_is_told_and_a_tiny_autoencoder_is_told_to_others(
    tmp_path: Path, single: Path
) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"a checkpoint of Stable Diffusion v1, or part of one \(text encoder, unet, vae\)",
    ):
        open_tiny_vae(single)
    with pytest.raises(CheckpointError, match=r"this is TAESD, .*`open_tiny_vae`") as refusal:
        open_checkpoint(saved(BOTH, tmp_path / "tiny.safetensors"))
    assert refusal.value.found == "tiny autoencoder"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        open_tiny_vae(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"no such file or folder|cannot be read"):
        open_tiny_vae("zero\0byte")
