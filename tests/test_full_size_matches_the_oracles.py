"""Every component at its real size, on the same random weights, against transformers and diffusers.

The weights travel as a checkpoint does: written as a diffusers folder, read by both sides. Needs some 12 GB.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from inkpunk import Pipeline, Request
from inkpunk.road.trace import trace
from torch import Tensor
from transformers import CLIPTextModel

pytestmark = pytest.mark.slow

SIZES = pytest.mark.parametrize(("height", "width"), [(64, 64), (45, 37)], ids=["64x64", "odd"])


@pytest.fixture(scope="module")
def folder(diffusers_folder: Callable[[str], Path]) -> Path:
    return diffusers_folder("full")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Pipeline:
    return Pipeline.load(folder, device="cpu")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_the_text_encoder(folder: Path, ours: Pipeline) -> None:
    theirs = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    prompts = ["nvinkpunk cyberpunk samurai with neon mask, glowing swords", "", "raven " * 90]
    expected = theirs(ours.tokenizer(prompts))[0]
    assert relative_error(ours.encode_prompts(prompts), expected) <= 1e-5


@SIZES
def test_the_unet(folder: Path, ours: Pipeline, height: int, width: int) -> None:
    theirs = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    latents, context, timestep = random(1, 4, height, width), random(1, 77, 768), torch.tensor([981])
    expected = theirs(latents, timestep, context).sample
    with ours.unet.awake() as unet:
        assert relative_error(unet(latents, timestep, context), expected) <= 2e-5


@SIZES
def test_the_vae_decodes(folder: Path, ours: Pipeline, height: int, width: int) -> None:
    theirs = AutoencoderKL.from_pretrained(folder / "vae").eval()
    latents = random(1, 4, height, width)
    expected = theirs.decode(latents / theirs.config.scaling_factor).sample
    with ours.vae.awake() as vae:
        assert relative_error(vae.decode(latents), expected) <= 2e-5


@SIZES
def test_the_vae_encodes(folder: Path, ours: Pipeline, height: int, width: int) -> None:
    theirs = AutoencoderKL.from_pretrained(folder / "vae").eval()
    images = random(1, 3, 8 * height, 8 * width).clamp(-1, 1)
    expected = theirs.encode(images).latent_dist
    with ours.vae.awake() as vae:
        posterior = vae.encode(images)
    scaling = theirs.config.scaling_factor
    assert relative_error(posterior.mean, scaling * expected.mean) <= 2e-5
    assert relative_error(posterior.std, scaling * expected.std) <= 2e-5


def test_the_trace_tells_the_shapes_of_the_original_write_up(ours: Pipeline) -> None:
    stages = list(trace(ours, Request("nvinkpunk raven", seeds=(7,), steps=1)))
    assert [stage.gives for stage in stages] == [
        "[1,77]",
        "[1,77,768]",
        "[1,4,64,64]",
        "[1,320]",
        "[1,4,64,64]",
        "[1,4,64,64]",
        "[1,3,512,512]",
        "[512,512,3]",
    ]
    parameters = {stage.name: stage.parameters for stage in stages if stage.parameters}
    assert list(parameters.values()) == [123_060_480, 859_520_964, 83_653_863]
