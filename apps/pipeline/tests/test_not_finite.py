"""Numbers that are not finite are found where they arise."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from inkpunk import Pipeline, Request
from inkpunk.cli import main
from inkpunk.memory.precision import NotFiniteError, refuse_not_finite
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from PIL import Image
from torch import Tensor

REQUEST = Request("a raven", seeds=(1,), steps=3)
PLACES = {  # a weight of each stage, and what it is called when it is damaged
    "text_encoder": ("layers.1.feed_forward.fc2.bias", "text encoder"),
    "unet": ("conv_out.bias", "UNet, step 1"),
    "vae": ("decoder.conv_out.bias", "VAE decoder"),
}


@pytest.fixture
def damaged(tiny: Path, tmp_path: Path) -> Callable[[str, float], Path]:
    """Write the tiny model with one number of a component changed."""

    def write(component: str, number: float) -> Path:
        checkpoint = open_checkpoint(tiny)
        parts: dict[str, dict[str, Tensor]] = {name: dict(getattr(checkpoint, name)) for name in PLACES}
        name = PLACES[component][0]
        parts[component][name] = parts[component][name].clone().index_fill_(0, torch.tensor([0]), number)
        path = tmp_path / "damaged.safetensors"
        metadata = {key: str(value) for key, value in checkpoint.metadata.items()}
        save_checkpoint(path, **parts, metadata=metadata)
        return path

    return write


@pytest.mark.parametrize("component", PLACES)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_the_stage_is_named_before_more_work_is_done(
    damaged: Callable[[str, float], Path], component: str, number: float
) -> None:
    pipeline = Pipeline.load(damaged(component, number), device="cpu")
    steps: list[int] = []
    with pytest.raises(NotFiniteError, match=rf"{PLACES[component][1]}: gave .* float32: a damaged weight"):
        for step in pipeline.run(REQUEST):
            steps.append(step.index)
        pipeline.pictures(REQUEST, step.latents)
    assert steps == ([1, 2, 3] if component == "vae" else [])


def test_the_vaes_encoder_is_named_too(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    with pipeline.vae.awake() as vae:
        vae.encoder.conv_in.bias.fill_(torch.nan)
    init = Image.new("RGB", (64, 64))
    with pytest.raises(NotFiniteError, match="VAE encoder"):
        next(pipeline.run(Request("a raven", seeds=(1,), init=init)))


def test_the_command_line_says_it_in_one_line(damaged: Callable[[str, float], Path], tmp_path: Path) -> None:
    path = damaged("unet", float("nan"))
    result = CliRunner().invoke(
        main, ["generate", "a raven", "--model", str(path), "--out", str(tmp_path / "x.png")]
    )
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: UNet, step 1: gave numbers that are not finite")
    assert not (tmp_path / "x.png").exists()


def test_in_half_precision_the_way_out_is_a_wider_one() -> None:
    with pytest.raises(NotFiniteError, match="an overflow, perhaps: try --dtype float32"):
        refuse_not_finite(torch.tensor([torch.inf]), "VAE decoder", torch.float16)
    refuse_not_finite(torch.tensor([65504.0]), "VAE decoder", torch.float16)


@pytest.mark.parametrize("settings", [{"low_memory": True}, {"dtype": "float16"}])
def test_a_weight_beyond_float16_is_refused_by_its_name(
    damaged: Callable[[str, float], Path], settings: dict[str, object]
) -> None:
    path = damaged("unet", 1e6)
    with pytest.raises(CheckpointError, match=r"conv_out.bias' holds 1e\+06, and float16 ends at 65504"):
        Pipeline.load(path, device="cpu", **settings).generate(REQUEST)
    out = path.parent / "half.safetensors"
    result = CliRunner().invoke(main, ["convert", str(path), str(out), "--dtype", "float16"])
    assert result.exit_code == 1 and "holds 1e+06, and float16 ends at 65504" in result.output
    Pipeline.load(path, device="cpu", dtype="bfloat16")
