"""The whole road, prompt to 8-bit image, against diffusers' pipelines on the same checkpoint and the same seeds.

Both sides draw the initial noise, then each step's, from the same CPU generator, so that any difference is the
arithmetic's. Small networks in every run; the real sizes at 512x512 under `pytest -m slow`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from inkpunk import Pipeline, Request
from inkpunk_sampling import SAMPLERS
from PIL import Image

PROMPT = "nvinkpunk cyberpunk samurai with neon mask, glowing swords"
NEGATIVE = "blurry, watermark"


@dataclass(frozen=True)
class Setting:
    """Which networks, how large a picture, how long a road."""

    size: str
    width: int
    height: int
    steps: int


SMALL = Setting("small", 72, 56, 10)
FULL = Setting("full", 512, 512, 3)


@pytest.fixture(
    scope="module", params=[SMALL, pytest.param(FULL, marks=pytest.mark.slow)], ids=lambda s: s.size
)
def setting(request: pytest.FixtureRequest) -> Setting:
    return request.param


@pytest.fixture(scope="module")
def folder(setting: Setting, diffusers_folder: Callable[[str], Path]) -> Path:
    """The same weights for both sides, as `inkpunk convert` writes them for diffusers."""
    return diffusers_folder(setting.size)


@pytest.fixture
def start(setting: Setting) -> Image.Image:
    """Something smooth to start from: two gradients and a disc."""
    y, x = np.mgrid[0 : setting.height, 0 : setting.width] / min(setting.height, setting.width)
    disc = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.08) * 255.0
    return Image.fromarray(np.stack([x * 200, y * 200, disc], axis=-1).clip(0, 255).astype(np.uint8))


def largest_difference(ours: Image.Image, theirs: Image.Image) -> int:
    return int(np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max())


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_text_to_image(setting: Setting, folder: Path, spacing: str) -> None:
    if setting is FULL and spacing != "linspace":
        pytest.skip("the spacing changes the timesteps only, which the small networks cover")
    request = Request(
        PROMPT,
        negative_prompt=NEGATIVE,
        seeds=(3,) if setting is FULL else (3, 4),
        steps=setting.steps,
        guidance=7.5,
        sampler="ddpm",
        spacing=spacing,
        width=setting.width,
        height=setting.height,
    )
    ours = [picture.image for picture in Pipeline.load(folder, device="cpu").generate(request)]

    oracle = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    oracle.scheduler = DDPMScheduler.from_config(
        oracle.scheduler.config, timestep_spacing=spacing, steps_offset=0
    )
    oracle.set_progress_bar_config(disable=True)
    theirs = oracle(
        [PROMPT] * len(request.seeds),
        negative_prompt=[NEGATIVE] * len(request.seeds),
        num_inference_steps=setting.steps,
        guidance_scale=7.5,
        generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
        width=setting.width,
        height=setting.height,
    ).images
    assert np.asarray(ours[0]).std() > 1, "a flat picture would agree with anything"
    assert max(map(largest_difference, ours, theirs)) <= 1


SAMPLED = [name for name, method in SAMPLERS.items() if method.elsewhere.diffusers]


@pytest.fixture(scope="module")
def both(diffusers_folder: Callable[[str], Path]) -> tuple[Pipeline, StableDiffusionPipeline]:
    """Ours and theirs, of the small networks: the sampler's arithmetic is the same at any size."""
    small = diffusers_folder("small")
    oracle = StableDiffusionPipeline.from_pretrained(small, safety_checker=None)
    oracle.set_progress_bar_config(disable=True)
    return Pipeline.load(small, device="cpu"), oracle


@pytest.mark.parametrize("sampler", SAMPLED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they give numpy tensors
@pytest.mark.filterwarnings("ignore:Should have t")  # sigmas in float32 lie a rounding beyond torchsde's tree
def test_every_sampler_draws_like_diffusers(
    both: tuple[Pipeline, StableDiffusionPipeline], sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the conventions that SD v1.5's own config and diffusers' defaults make."""
    pipeline, oracle = both
    settings = {"width": SMALL.width, "height": SMALL.height}
    request = Request(
        PROMPT,
        seeds=(3,),
        steps=5,
        guidance=4.0,
        sampler=sampler,
        like="diffusers",
        **settings,
    )
    ours = pipeline.generate(request)[0].image

    # SD v1.5's own config names no spacing, so that each of their schedulers takes its default
    config = {key: value for key, value in oracle.scheduler.config.items() if key != "timestep_spacing"}
    kind = getattr(diffusers, SAMPLERS[sampler].elsewhere.diffusers)
    # theirs is of order 2, and of less in the last steps of fewer than 15, unless told
    more = {"solver_order": 3, "lower_order_final": False} if sampler == "deis" else {}
    monkeypatch.setattr(oracle, "scheduler", kind.from_config(config, **more))
    oracle.scheduler.noise_sampler_seed = [3]  # of DPM++ SDE, which has a tree of its own
    theirs = oracle(
        PROMPT,
        num_inference_steps=5,
        guidance_scale=4.0,
        eta=0.3 if sampler == "tcd" else 0.0,
        generator=[torch.Generator().manual_seed(3)],
        **settings,
    ).images[0]
    assert np.asarray(ours).std() > 1, "a flat picture would agree with anything"
    assert largest_difference(ours, theirs) <= 1


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpmpp_2m", "unipc"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they give numpy tensors
def test_image_to_image_like_diffusers(both: tuple[Pipeline, StableDiffusionPipeline], sampler: str) -> None:
    pipeline, oracle = both
    start = Image.linear_gradient("L").resize((SMALL.width, SMALL.height)).convert("RGB")
    request = Request(
        PROMPT,
        seeds=(3,),
        steps=8,
        guidance=4.0,
        sampler=sampler,
        like="diffusers",
        width=SMALL.width,
        height=SMALL.height,
        init=start,
        strength=0.6,
    )
    ours = pipeline.generate(request)[0].image

    theirs = StableDiffusionImg2ImgPipeline(**oracle.components, requires_safety_checker=False)
    config = {key: value for key, value in oracle.scheduler.config.items() if key != "timestep_spacing"}
    theirs.scheduler = getattr(diffusers, SAMPLERS[sampler].elsewhere.diffusers).from_config(config)
    theirs.set_progress_bar_config(disable=True)
    image = theirs(
        PROMPT,
        image=start,
        strength=0.6,
        num_inference_steps=8,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(3)],
    ).images[0]
    assert largest_difference(ours, image) <= 1


def test_image_to_image(setting: Setting, folder: Path, start: Image.Image) -> None:
    request = Request(
        PROMPT,
        negative_prompt=NEGATIVE,
        seeds=(3,),
        steps=setting.steps,
        guidance=7.5,
        sampler="ddpm",
        spacing="linspace",
        width=start.width,
        height=start.height,
        init=start,
        strength=0.75,
    )
    ours = Pipeline.load(folder, device="cpu").generate(request)[0].image

    oracle = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None)
    oracle.scheduler = DDPMScheduler.from_config(
        oracle.scheduler.config, timestep_spacing="linspace", steps_offset=0
    )
    oracle.set_progress_bar_config(disable=True)
    theirs = oracle(
        PROMPT,
        image=start,
        strength=0.75,
        negative_prompt=NEGATIVE,
        num_inference_steps=setting.steps,
        guidance_scale=7.5,
        generator=[torch.Generator().manual_seed(3)],
    ).images[0]
    assert largest_difference(ours, theirs) <= 1
