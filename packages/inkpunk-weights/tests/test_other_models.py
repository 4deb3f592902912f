"""Files that are something else are refused by what they are."""

from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint
from safetensors.torch import load_file, save_file

UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("name", "shape", "what"),
    [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", (4, 4), "a LoRA"),
        ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", (4, 4), "a LoRA"),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (4, 4), "a LoRA"),
        ("control_model.time_embed.0.weight", (4, 4), "a ControlNet"),
        ("controlnet_cond_embedding.conv_in.weight", (4, 4, 3, 3), "a ControlNet"),
        ("emb_params", (2, 768), "a textual-inversion embedding"),
        ("<neon>", (768,), "a textual-inversion embedding"),
        ("joint_blocks.0.x_block.attn.qkv.weight", (4, 4), "Stable Diffusion 3"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", (4, 4), "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", (4,), "a Flux model"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", (4,), "Stable Diffusion XL"),
        ("add_embedding.linear_1.weight", (4, 4), "Stable Diffusion XL"),
        ("cond_stage_model.model.token_embedding.weight", (4, 4), "Stable Diffusion 2"),
        ("model.diffusion_model.input_blocks.1.1.proj_in.weight", (4, 4), "Stable Diffusion 2 or XL"),
        ("down_blocks.0.attentions.0.proj_in.weight", (4, 4), "Stable Diffusion 2 or XL"),
        ("time_embedding.cond_proj.weight", (4, 4), "a latent consistency model"),
        ("model.diffusion_model.time_embed.cond_proj.weight", (4, 4), "a latent consistency model"),
        ("encoder.layers.1.conv.0.weight", (4, 4, 3, 3), "TAESD"),
        ("3.conv.0.weight", (4, 4, 3, 3), "TAESD"),
        ("decoder.conv_in.weight", (4, 16, 3, 3), "the autoencoder of Stable Diffusion 3 or Flux"),
        (
            "down_blocks.0.motion_modules.0.temporal_transformer.norm.bias",
            (4,),
            "an AnimateDiff motion module",
        ),
    ],
)
def test_other_models_are_named(tmp_path: Path, name: str, shape: tuple[int, ...], what: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(shape), "another.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: this is {what}")
    assert "\n" not in str(caught.value)


def test_sd2s_context_width_gives_it_away(single: Path) -> None:
    weights = load_file(single)
    weights[UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] = torch.zeros(4, 1024)
    save_file(weights, single)
    with pytest.raises(CheckpointError, match="this is Stable Diffusion 2"):
        open_checkpoint(single)


def test_textual_inversions_that_are_pickled_are_refused(tmp_path: Path) -> None:
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(1, 768)}, "name": "neon"}
    torch.save(content, tmp_path / "neon.pt")
    with pytest.raises(CheckpointError, match="string_to_param"):
        open_checkpoint(tmp_path / "neon.pt")


def test_tensors_of_nothing_known_are_refused_with_a_few_of_their_names(tmp_path: Path) -> None:
    save_file({"first.weight": torch.zeros(1), "second": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"no component of Stable Diffusion v1 .*'first\.weight'"):
        open_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "name",
    ["model.diffusion_model.input_blocks.0.0.weight", "encoder.down.x.weight", "encoder.layers.99999.x"],
)
def test_a_component_without_one_whole_block_is_refused(tmp_path: Path, name: str) -> None:
    save_file({name: torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="not one whole block"):
        open_checkpoint(tmp_path / "x.safetensors")
