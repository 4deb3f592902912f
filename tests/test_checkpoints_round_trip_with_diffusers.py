"""What diffusers and transformers write, we read; what we write, they load. Bit for bit, offline."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from inkpunk_weights import open_checkpoint, save_checkpoint
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 32,
    "sample_size": 8,
}
VAE = {
    "block_out_channels": [32, 64],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 16,
}
TEXT_ENCODER = {
    "vocab_size": 99,
    "hidden_size": 16,
    "projection_dim": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
CONFIGS = {"unet": UNET, "vae": VAE, "text_encoder": TEXT_ENCODER}
SHARD_BYTES = "300KB"

Models = Mapping[str, nn.Module]


@pytest.fixture(scope="module")
def models() -> Models:
    torch.manual_seed(0)
    return {
        "unet": UNet2DConditionModel(**UNET),
        "vae": AutoencoderKL(**VAE),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER)),
    }


@pytest.fixture(scope="module")
def folder(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diffusers") / "model"
    for name, model in models.items():
        model.save_pretrained(path / name)
    return path


def by_their_names(path: Path) -> dict[str, dict[str, Tensor]]:
    """What we read of a checkpoint, under the names it has in the file."""
    parts = open_checkpoint(path).components
    return {
        name: {part.in_file[ours]: tensor for ours, tensor in part.tensors.items()}
        for name, part in parts.items()
    }


def assert_same(read: Mapping[str, Tensor], model: nn.Module) -> None:
    expected = {name.removeprefix("text_model."): tensor for name, tensor in model.state_dict().items()}
    found = {name.removeprefix("text_model."): tensor for name, tensor in read.items()}
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"variant": "fp16"},
        {"max_shard_size": SHARD_BYTES},
        {"max_shard_size": SHARD_BYTES, "variant": "fp16"},
    ],
    ids=["plain", "variant", "sharded", "sharded variant"],
)
def test_folders_that_diffusers_and_transformers_write_are_read(
    models: Models, tmp_path: Path, how: dict[str, str]
) -> None:
    for name, model in models.items():
        model.save_pretrained(tmp_path / name, **how)
    if "max_shard_size" in how:
        assert len(list((tmp_path / "unet").glob("*-of-*.safetensors"))) > 1
    read = by_their_names(tmp_path)
    for name, model in models.items():
        assert_same(read[name], model)
    assert open_checkpoint(tmp_path).report().problems == ()


def test_pickled_weights_of_folders_are_read(models: Models, tmp_path: Path) -> None:
    for name, model in models.items():  # transformers 5 writes no pickles; torch.save makes the same file
        file = "pytorch_model.bin" if name == "text_encoder" else "diffusion_pytorch_model.bin"
        (tmp_path / name).mkdir()
        torch.save(model.state_dict(), tmp_path / name / file)
    read = by_their_names(tmp_path)
    for name, model in models.items():
        assert_same(read[name], model)


def test_half_precision_folders_are_read(folder: Path, tmp_path: Path) -> None:
    UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float16).save_pretrained(
        tmp_path / "unet", variant="fp16"
    )
    half = UNet2DConditionModel.from_pretrained(tmp_path / "unet", variant="fp16", torch_dtype=torch.float16)
    assert_same(by_their_names(tmp_path)["unet"], half)


def test_configs_of_a_folder_are_those_diffusers_wrote(folder: Path) -> None:
    configs = open_checkpoint(folder).configs
    for name, config in CONFIGS.items():
        assert {key: configs[name][key] for key in config} == config


def test_folders_we_write_load_in_diffusers_and_transformers(
    folder: Path, models: Models, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(folder)
    save_checkpoint(
        tmp_path / "ours",
        text_encoder=checkpoint.text_encoder,
        unet=checkpoint.unet,
        vae=checkpoint.vae,
        layout="diffusers folder",
        configs=CONFIGS,
    )
    pipeline = StableDiffusionPipeline.from_pretrained(
        tmp_path / "ours", tokenizer=None, safety_checker=None, feature_extractor=None, local_files_only=True
    )
    for name, model in models.items():
        assert_same(getattr(pipeline, name).state_dict(), model)


def test_the_configs_we_write_say_what_diffusers_would(folder: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(folder)
    parts = {"text_encoder": checkpoint.text_encoder, "unet": checkpoint.unet, "vae": checkpoint.vae}
    heads = {
        "text_encoder": {"num_attention_heads": 2}
    }  # of SD v1.5's twelve there are none in a width of 16
    # no other configs given: read off the shapes
    save_checkpoint(tmp_path / "ours", **parts, layout="diffusers folder", configs=heads)
    unreadable = {"attention_head_dim", "norm_num_groups", "sample_size", "num_attention_heads"}
    for name, config in CONFIGS.items():
        ours = json.loads((tmp_path / "ours" / name / "config.json").read_text())
        assert {key: ours[key] for key in config if key not in unreadable} == {
            key: value for key, value in config.items() if key not in unreadable
        }


@pytest.mark.parametrize("layout", ["single-file safetensors", "single-file ckpt"])
def test_single_files_we_write_load_in_diffusers(
    folder: Path, models: Models, tmp_path: Path, layout: str
) -> None:
    checkpoint = open_checkpoint(folder)
    parts = {"text_encoder": checkpoint.text_encoder, "unet": checkpoint.unet, "vae": checkpoint.vae}
    single = tmp_path / ("model.safetensors" if "safetensors" in layout else "model.ckpt")
    save_checkpoint(single, **parts, layout=layout)
    save_checkpoint(tmp_path / "config", **parts, layout="diffusers folder", configs=CONFIGS)
    pipeline = StableDiffusionPipeline.from_single_file(
        str(single),
        config=str(tmp_path / "config"),
        local_files_only=True,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
    )
    for name, model in models.items():
        assert_same(getattr(pipeline, name).state_dict(), model)


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_single_components_we_write_load_in_diffusers(
    folder: Path, models: Models, tmp_path: Path, name: str
) -> None:
    save_checkpoint(tmp_path / "part.safetensors", **{name: open_checkpoint(folder).components[name].tensors})
    loaded = type(models[name]).from_single_file(
        str(tmp_path / "part.safetensors"), config=str(folder / name), local_files_only=True
    )
    assert_same(loaded.state_dict(), models[name])
