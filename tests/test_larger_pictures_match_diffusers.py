"""A second pass, against what diffusers' users do: text to image to latents, resized, and image to image from there.

The noise of both passes is drawn from the same seed, in each pass's own size. Small networks.
"""

from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from inkpunk import Enlarge, Pipeline, Request
from inkpunk_sampling import SAMPLERS
from PIL import Image

PROMPT = "nvinkpunk cyberpunk samurai with neon mask, glowing swords"
SEEDS = (3, 4)
WIDTH, HEIGHT, STEPS = 40, 56, 4


@pytest.fixture(scope="module")
def folder(diffusers_folder: Callable[[str], Path]) -> Path:
    return diffusers_folder("small")


@pytest.mark.parametrize(
    ("by", "sampler"), [("latents", "ddim"), ("latents", "euler_a"), ("pixels", "dpmpp_2m")]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they give numpy tensors
def test_a_larger_picture_is_theirs(folder: Path, by: str, sampler: str) -> None:
    request = Request(
        PROMPT,
        seeds=SEEDS,
        steps=STEPS,
        guidance=4.0,
        sampler="ddim",
        like="diffusers",
        width=WIDTH,
        height=HEIGHT,
        enlarge=Enlarge(2, by=by, strength=0.6, steps=6, sampler=sampler),
    )
    ours = [picture.image for picture in Pipeline.load(folder, device="cpu").generate(request)]

    oracle = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    # SD v1.5's own config names no spacing, so that each of their schedulers takes its default
    config = {key: value for key, value in oracle.scheduler.config.items() if key != "timestep_spacing"}
    again = StableDiffusionImg2ImgPipeline(**oracle.components, requires_safety_checker=False)
    for pipe, name in ((oracle, "ddim"), (again, sampler)):
        pipe.scheduler = getattr(diffusers, SAMPLERS[name].elsewhere.diffusers).from_config(config)
        pipe.set_progress_bar_config(disable=True)
    settings = {"prompt": [PROMPT] * len(SEEDS), "guidance_scale": 4.0}
    first = oracle(
        **settings,
        num_inference_steps=STEPS,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        width=WIDTH,
        height=HEIGHT,
        output_type="latent" if by == "latents" else "pil",
    ).images
    if by == "latents":
        first = F.interpolate(first, scale_factor=2, mode="bilinear")
    else:
        first = [image.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.LANCZOS) for image in first]
    theirs = again(
        **settings,
        image=first,
        strength=0.6,
        num_inference_steps=6,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
    ).images
    assert np.asarray(ours[0]).std() > 1, "a flat picture would agree with anything"
    for one, other in zip(ours, theirs, strict=True):
        assert one.size == other.size == (2 * WIDTH, 2 * HEIGHT)
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max() <= 1
