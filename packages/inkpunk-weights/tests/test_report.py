"""A report says what a checkpoint is and everything that is wrong with it, in the file's own names."""

import math
from pathlib import Path

import pytest
import torch
from inkpunk_weights import open_checkpoint
from inkpunk_weights.anatomy import TextEncoderAnatomy, UNetAnatomy, VAEAnatomy
from inkpunk_weights.components import ema_name, find_components
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.names import LDM, OUR_BLOCKS, Names
from inkpunk_weights.report import report_component
from safetensors.torch import load_file, save_file
from torch import Tensor

BARE = "cond_stage_model.transformer."
Parts = dict[str, dict[str, Tensor]]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


def test_a_sound_checkpoint_has_no_problems(single: Path, folder: Path) -> None:
    for path in (single, folder):
        report = open_checkpoint(path).report(finite=True)
        assert report.problems == ()
        assert str(path) in str(report)
        assert report.layout in str(report)


def test_parameters_and_dtypes_are_counted(single: Path, parts: Parts) -> None:
    weights = load_file(single)
    first = UNET + "input_blocks.0.0.bias"
    save_file(weights | {first: weights[first].half()}, single)
    report = open_checkpoint(single).report()
    assert [part.name for part in report.components] == ["text_encoder", "unet", "vae"]
    for part in report.components:
        assert part.parameters == sum(tensor.numel() for tensor in parts[part.name].values())
    assert report.components[1].dtypes == {"float32": len(parts["unet"]) - 1, "float16": 1}


@pytest.mark.parametrize(
    ("channels", "variant"),
    [
        (4, "SD v1 text-to-image"),
        (9, "SD v1 inpainting (9 channels)"),
        (8, "SD v1 instruction editing (8 channels)"),
    ],
)
def test_sd_v1_of_full_size_is_recognised_from_its_header_alone(channels: int, variant: str) -> None:
    def refuse(name: str) -> Tensor:
        raise AssertionError(f"{name} was read")

    anatomies = {
        "text_encoder": TextEncoderAnatomy(),
        "unet": UNetAnatomy(in_channels=channels),
        "vae": VAEAnatomy(),
    }
    specs: dict[str, Spec] = {}
    for dialect in LDM:
        shapes = dict(anatomies[dialect.component].tensors())
        names = Names(dialect, OUR_BLOCKS[dialect.component](shapes))
        specs |= {
            f"{dialect.prefixes[0]}{names.theirs(key)}": Spec(torch.float16, shape)
            for key, shape in shapes.items()
        }
    found = find_components(Path("model"), LazyTensors(specs, refuse))
    reports = {name: report_component(component) for name, component in found.components.items()}
    assert {name: report.variant for name, report in reports.items()} == {
        "text_encoder": "CLIP ViT-L/14",
        "unet": variant,
        "vae": "SD v1",
    }
    assert all(report.problems == () for report in reports.values())
    assert sum(report.parameters for report in reports.values()) == sum(
        math.prod(spec.shape) for spec in specs.values()
    )


def test_every_problem_is_told_at_once_in_the_files_own_names(single: Path) -> None:
    weights = load_file(single)
    del weights[UNET + "middle_block.0.in_layers.2.weight"]
    del weights[TEXT + "final_layer_norm.weight"]
    weights[UNET + "input_blocks.1.1.proj_in.weight"] = torch.zeros(4, 5, 1, 1)
    weights[VAE + "encoder.mid.attn_1.q.weight"] = torch.zeros(6, 7, 1, 1)
    weights[UNET + "input_blocks.1.0.extra.weight"] = torch.zeros(1)
    weights[UNET + "middle_block.1.transformer_blocks.0.attn1.to_q.bias"] = torch.zeros(6)
    weights[VAE + "quant_conv.bias"] = torch.zeros(8, dtype=torch.int8)
    weights[BARE + "final_layer_norm.bias"] = torch.zeros(4)
    weights[BARE + "encoder.layers.0.mlp.fc1.bias"] = torch.zeros(6)
    save_file(weights, single)
    checkpoint = open_checkpoint(single)
    assert set(checkpoint.report().problems) == {
        f"unet: missing: '{UNET}middle_block.0.in_layers.2.weight'",
        f"text_encoder: missing: '{TEXT}final_layer_norm.weight'",
        f"unet: misshapen: '{UNET}input_blocks.1.1.proj_in.weight' is [4, 5, 1, 1], expected [4, 4, 1, 1]",
        f"vae: misshapen: '{VAE}encoder.mid.attn_1.q.weight' is [6, 7, 1, 1], expected [6, 6, 1, 1]",
        f"unet: unexpected: '{UNET}input_blocks.1.0.extra.weight'",
        f"unet: unexpected: '{UNET}middle_block.1.transformer_blocks.0.attn1.to_q.bias'",
        f"vae: holds integers: '{VAE}quant_conv.bias'",
        f"text_encoder: twice: '{BARE}final_layer_norm.bias' means the same as '{TEXT}final_layer_norm.bias'",
        f"text_encoder: twice: '{BARE}encoder.layers.0.mlp.fc1.bias' "
        f"means the same as '{TEXT}encoder.layers.0.mlp.fc1.bias'",
    }
    assert all(problem in str(checkpoint.report()) for problem in checkpoint.report().problems)


def test_a_folders_problems_have_its_names(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["mid_block.resnets.0.conv1.bias"]
    save_file(weights, file)
    assert open_checkpoint(folder).report().problems == ("unet: missing: 'mid_block.resnets.0.conv1.bias'",)


def test_two_spellings_of_one_tensor_are_a_problem(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    attention = "decoder.mid_block.attentions.0"
    save_file(load_file(file) | {f"{attention}.query.bias": torch.zeros(6)}, file)
    (part,) = open_checkpoint(folder / "vae").report().components
    assert set(part.twice[0]) == {f"{attention}.query.bias", f"{attention}.to_q.bias"}


def test_tensors_of_no_component_are_listed_but_no_problem(single: Path) -> None:
    save_file(load_file(single) | {"mystery": torch.zeros(1)}, single)
    report = open_checkpoint(single).report()
    assert report.unknown == ("mystery",)
    assert report.problems == ()
    assert "1 unknown: 'mystery'" in str(report)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_found_when_asked_for(single: Path, dtype: torch.dtype, value: float) -> None:
    name = VAE + "decoder.conv_in.bias"
    weights = load_file(single)
    weights[name][-1] = value
    weights["betas"] = torch.tensor([value])  # a leftover, which nobody reads
    weights[name] = weights[name].to(dtype)
    save_file(weights, single)
    assert open_checkpoint(single).report().problems == ()
    assert open_checkpoint(single).report(finite=True).problems == (f"vae: holds NaN or infinity: '{name}'",)


def test_averages_are_reported_by_their_flattened_names(single: Path) -> None:
    weights = load_file(single)
    averages = {ema_name(name): tensor.clone() for name, tensor in weights.items() if name.startswith(UNET)}
    name = "model_ema.diffusion_modelout2bias"
    averages[name] = torch.full_like(averages[name], math.nan)
    save_file(weights | averages, single)
    report = open_checkpoint(single, ema=True).report(finite=True)
    assert report.problems == (f"unet: holds NaN or infinity: '{name}'",)


def test_names_from_a_stranger_are_printed_on_one_line(single: Path) -> None:
    save_file(
        load_file(single) | {"two\nlines\x1b[31m": torch.zeros(1), UNET + "a\nb": torch.zeros(1)}, single
    )
    report = open_checkpoint(single).report()
    assert "\x1b" not in str(report)
    assert all("\n" not in problem for problem in report.problems)
