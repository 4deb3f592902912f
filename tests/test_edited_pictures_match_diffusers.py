"""Inpainting, prompt to 8-bit image, against diffusers' pipeline on the same checkpoint and the same seeds.

Ordinary models and such as see masks; small networks in every run, a model that sees masks at 512x512 under
`pytest -m slow`. Compared is what is decoded, before we lay what is held over it, which diffusers does not.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from inkpunk import Pipeline, Request
from inkpunk.pictures.pixels import tensor_to_image
from inkpunk_sampling import SAMPLERS
from PIL import Image, ImageDraw

PROMPT = "nvinkpunk cyberpunk samurai with neon mask, glowing swords"
SIZE = (72, 56)


def picture(size: tuple[int, int]) -> Image.Image:
    """Two gradients and a disc."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / min(size)
    disc = ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.08) * 255.0
    return Image.fromarray(np.stack([x * 200, y * 200, disc], axis=-1).clip(0, 255).astype(np.uint8))


def mask(size: tuple[int, int]) -> Image.Image:
    """An ellipse, whose edge crosses cells of the latents."""
    drawn = Image.new("L", size, 0)
    ImageDraw.Draw(drawn).ellipse((size[0] // 4, 3, size[0] - 11, size[1] // 2 + 5), fill=255)
    return drawn


Both = tuple[Pipeline, StableDiffusionInpaintPipeline]


def both_of(folder: Path) -> Both:
    oracle = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None)
    oracle.set_progress_bar_config(disable=True)
    return Pipeline.load(folder, device="cpu"), oracle


@pytest.fixture(scope="module", params=["small", "small-inpainting"])
def both(request: pytest.FixtureRequest, diffusers_folder: Callable[[str], Path]) -> Both:
    """Ours and theirs."""
    return both_of(diffusers_folder(request.param))


def largest_difference(
    both: Both, sampler: str, strength: float, size: tuple[int, int], steps: int, seeds: tuple[int, ...]
) -> int:
    pipeline, oracle = both
    request = Request(
        PROMPT,
        seeds=seeds,
        steps=steps,
        guidance=4.0,
        sampler=sampler,
        like="diffusers",
        width=size[0],
        height=size[1],
        init=picture(size),
        mask=mask(size),
        strength=strength,
    )
    last = deque(pipeline.run(request), 1).pop()
    ours = [np.asarray(tensor_to_image(image)).astype(int) for image in pipeline.decode(last.latents)]

    config = {key: value for key, value in oracle.scheduler.config.items() if key != "timestep_spacing"}
    kind = getattr(diffusers, SAMPLERS[sampler].elsewhere.diffusers)
    theirs = StableDiffusionInpaintPipeline(
        **{**oracle.components, "scheduler": kind.from_config(config)}, requires_safety_checker=False
    )
    theirs.set_progress_bar_config(disable=True)
    images = theirs(
        [PROMPT] * len(seeds),
        image=[picture(size)] * len(seeds),
        mask_image=[mask(size)] * len(seeds),
        width=size[0],
        height=size[1],
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    ).images
    assert ours[0].std() > 1, "a flat picture would agree with anything"
    return max(int(np.abs(one - np.asarray(other)).max()) for one, other in zip(ours, images, strict=True))


# with noise in each step and without, at either strength
@pytest.mark.parametrize(
    ("sampler", "strength"), [("ddim", 1.0), ("ddpm", 1.0), ("ddpm", 0.6), ("euler", 0.6), ("dpmpp_2m", 0.6)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they give numpy tensors
def test_inpainting(both: Both, sampler: str, strength: float) -> None:
    assert largest_difference(both, sampler, strength, SIZE, 6, (3, 4)) <= 1


@pytest.mark.slow
def test_a_model_that_sees_masks_at_full_size(diffusers_folder: Callable[[str], Path]) -> None:
    both = both_of(diffusers_folder("inpainting"))
    assert largest_difference(both, "ddim", 0.7, (512, 512), 3, (3,)) <= 1
