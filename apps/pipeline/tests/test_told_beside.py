"""What a single file's training left beside it, as a `.yaml`, and in it: followed, or refused in words."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from inkpunk import Pipeline
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.models.loading import read_config
from inkpunk.models.trained_for import read_training
from inkpunk_sampling import NoiseSchedule
from inkpunk_weights import CheckpointError, open_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

V15: dict[str, Any] = {
    "linear_start": 0.00085,
    "linear_end": 0.0120,
    "timesteps": 1000,
    "scale_factor": 0.18215,
}
ZERO_SNR = NoiseSchedule(zero_snr=True)
LINEAR = NoiseSchedule(1000, 0.0015, 0.0195, "linear")


def beside(tiny: Path, home: Path, config: object) -> Path:
    """The tiny model as a file of its own with a config beside it."""
    path = home / "model.safetensors"
    path.write_bytes(tiny.read_bytes())
    path.with_suffix(".yaml").write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def of_training(
    tiny: Path, home: Path, *unsaid: str, metadata: dict[str, str] | None = None, **tensors: Tensor
) -> Path:
    """The tiny model with what training leaves in a file, and without what our metadata say of `unsaid`."""
    path = home / "model.safetensors"
    with safe_open(tiny, "pt") as file:
        notes = {key: text for key, text in file.metadata().items() if key not in unsaid} | (metadata or {})
        save_file({name: file.get_tensor(name) for name in file.keys()} | tensors, path, notes)  # noqa: SIM118
    return path


def params(**told: object) -> dict[str, object]:
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": told}}


def told(path: Path, **options: Any) -> tuple[str, NoiseSchedule]:
    schedule, prediction = read_training(open_checkpoint(path), **options)
    return prediction, schedule


def refusal_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        told(path)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 600
    return message


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (params(**V15), ("epsilon", NoiseSchedule())),
        (params(**V15, parameterization="v"), ("v", NoiseSchedule())),
        (params(parameterization="x0"), ("sample", NoiseSchedule())),
        (params(linear_start=0.0015, linear_end=0.0195), ("epsilon", NoiseSchedule(1000, 0.0015, 0.0195))),
        (params(**V15, beta_schedule="sqrt_linear"), ("epsilon", NoiseSchedule(curve="linear"))),
        # as latent diffusion has it where it is left out
        (params(timesteps=500), ("epsilon", NoiseSchedule(500, 0.0001, 0.02))),
        (
            "model: {params: {linear_start: 1e-4, linear_end: 2e-2}}",
            ("epsilon", NoiseSchedule(1000, 0.0001, 0.02)),
        ),
    ],
)
def test_a_yaml_beside_a_file_is_followed(
    tiny: Path, tmp_path: Path, config: object, expected: tuple[str, NoiseSchedule]
) -> None:
    path = beside(tiny, tmp_path, config)
    assert told(path) == expected
    convert_checkpoint(path, tmp_path / "folder")
    assert told(tmp_path / "folder") == expected


def test_a_model_is_drawn_with_by_the_yaml_beside_it(tiny: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.load(beside(tiny, tmp_path, params(parameterization="v", **V15)), device="cpu")
    assert (pipeline.prediction, pipeline.schedule) == ("v", NoiseSchedule())


def test_a_yaml_tells_the_heads_and_the_scaling_where_metadata_do_not(tiny: Path, tmp_path: Path) -> None:
    path = of_training(
        tiny,
        tmp_path,
        "inkpunk.config",
        metadata={
            "inkpunk.config": '{"text_encoder": {"heads": 4}, "unet": {"groups": 8}, "vae": {"groups": 4}}'
        },
    )
    config = params(scale_factor=0.13025, unet_config={"params": {"num_heads": 4, "context_dim": 32}})
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config))
    checkpoint = open_checkpoint(path)
    assert (read_config(checkpoint, "unet").heads, read_config(checkpoint, "vae").scaling) == (4, 0.13025)
    convert_checkpoint(path, tmp_path / "folder")
    checkpoint = open_checkpoint(tmp_path / "folder")
    assert (read_config(checkpoint, "unet").heads, read_config(checkpoint, "vae").scaling) == (4, 0.13025)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("model: [", "not YAML"),
        ("[" * 50_000, "nested"),
        ("\x00", "not YAML"),
        ("a: 2001-99-99", "month"),
        ("- model", "no model.params"),
        ("", "no model.params"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("#" * 100_001, "larger than"),
        (params(parameterization="flow"), "parameterization is 'flow'"),
        (params(parameterization=["v"]), "parameterization"),
        (params(beta_schedule="cosine"), "beta_schedule is 'cosine'"),
        (params(linear_start="much"), "linear_start is 'much'"),
        (params(linear_start=2.0), "0 < beta_start"),
        (params(linear_start=float("nan")), "linear_start is nan"),
        (params(timesteps=10**9), "more than 100000"),
        (params(timesteps=1), "write 1000"),
        (params(timesteps=10.5), "whole number"),
        (params(given_betas=[0.1]), "given_betas"),
        (
            params(unet_config={"params": {"context_dim": 1024}}),
            "1024, but the tensors are those of 32",
        ),
        (params(unet_config={"params": {"num_head_channels": 64}}), "Stable Diffusion 2"),
        (params(cond_stage_config={"target": "ldm.modules.FrozenOpenCLIPEmbedder"}), "Stable Diffusion 2"),
        (params(cond_stage_config={"params": {"layer": "hidden", "layer_idx": 11}}), "--clip-skip"),
        (
            {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": {"a": 1}}},
            "Stable Diffusion XL",
        ),
    ],
)
def test_a_yaml_that_cannot_be_followed_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, config: object, words: str
) -> None:
    message = refusal_of(beside(tiny, tmp_path, config))
    assert words in message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("schedule", [NoiseSchedule(), NoiseSchedule(1000, 0.0001, 0.02, "linear")])
def test_what_training_left_of_its_noise_is_followed(
    tiny: Path, tmp_path: Path, schedule: NoiseSchedule, dtype: torch.dtype
) -> None:
    betas = torch.tensor(schedule.betas)
    path = of_training(
        tiny, tmp_path, betas=betas.to(dtype), alphas_cumprod=torch.cumprod(1 - betas, 0).to(dtype)
    )
    assert told(path) == ("epsilon", schedule)


@pytest.mark.parametrize("name", ["betas", "alphas_cumprod", "sqrt_alphas_cumprod"])
@pytest.mark.parametrize("schedule", [LINEAR, ZERO_SNR])
def test_either_is_enough(tiny: Path, tmp_path: Path, name: str, schedule: NoiseSchedule) -> None:
    values = torch.tensor(getattr(schedule, name.removeprefix("sqrt_")))
    if name.startswith("sqrt_"):
        values = values.sqrt()
    path = of_training(tiny, tmp_path, metadata={"modelspec.prediction_type": "v"}, **{name: values})
    assert told(path) == ("v", schedule)
    convert_checkpoint(path, tmp_path / "folder")
    assert told(tmp_path / "folder") == ("v", schedule)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"betas": torch.full((1000,), float("nan"))}, "its betas"),
        ({"betas": torch.zeros(1000)}, "its betas"),
        ({"betas": torch.ones(10, 10) / 100}, "of shape [10, 10]"),
        ({"betas": torch.ones(1000, dtype=torch.int64)}, "torch.int64"),
        ({"alphas_cumprod": torch.linspace(0.9, 0.1, 1000) ** 3}, "none of a schedule"),
        ({"alphas_cumprod": torch.tensor(0.5)}, "of shape []"),
        ({"sqrt_alphas_cumprod": torch.linspace(0.9, 0.1, 1000)}, "its sqrt_alphas_cumprod: "),
        ({"sqrt_alphas_cumprod": -torch.tensor(LINEAR.alphas_cumprod).sqrt()}, "not of [0, 1]"),
        (
            {
                "betas": torch.tensor(LINEAR.betas),
                "alphas_cumprod": torch.tensor(NoiseSchedule().alphas_cumprod),
            },
            "contradict each other",
        ),
    ],
)
def test_what_is_no_schedule_of_ours_is_refused_with_a_way_out(
    tiny: Path, tmp_path: Path, tensors: dict[str, Tensor], words: str
) -> None:
    path = of_training(tiny, tmp_path, **tensors)
    message = refusal_of(path)
    assert words in message and "linear_start" in message
    path.with_suffix(".yaml").write_text(yaml.safe_dump(params(**V15)))  # as it says
    assert told(path) == ("epsilon", NoiseSchedule())


def test_of_several_that_contradict_each_other_the_nearer_one_counts(tiny: Path, tmp_path: Path) -> None:
    path = of_training(tiny, tmp_path, betas=torch.tensor(LINEAR.betas), ztsnr=torch.empty(0))
    assert told(path, prediction="v")[1] == NoiseSchedule(1000, 0.0015, 0.0195, "linear", zero_snr=True)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(params(**V15, parameterization="v")))
    assert told(path) == ("v", ZERO_SNR)
    assert told(path, prediction="sample", zero_snr=False) == ("sample", NoiseSchedule())
    path = of_training(tiny, tmp_path, metadata={"modelspec.prediction_type": "epsilon"})
    assert told(path) == ("epsilon", NoiseSchedule())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_scaling_that_training_found_is_followed(tiny: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    for left, expected in ((0.18215, 0.18215), (0.125, 0.125)):
        path = of_training(tiny, tmp_path, scale_factor=torch.tensor(left, dtype=dtype))
        assert read_config(open_checkpoint(path), "vae").scaling == expected
