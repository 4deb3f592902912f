"""Pictures drawn by image prompts are diffusers' with the same files, plain and plus, of one picture and of two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from inkpunk import ImagePrompt, Pipeline, Request
from inkpunk_unet import cross_attentions
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.test_image_prompts_match_diffusers import plain, plus, saved

PROMPT, NEGATIVE, STEPS, SEED, WEIGHT = "nvinkpunk raven", "blurry", 3, 7, 0.8
EMBED, PATCH_WIDTH = 24, 32
ENCODER: dict[str, Any] = {
    "hidden_size": PATCH_WIDTH, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 14, "projection_dim": EMBED, "hidden_act": "gelu",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(diffusers_folder: Callable[[str], Path]) -> Path:
    return diffusers_folder("small")


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain.safetensors and plus.safetensors for the model, and the encoder that both look through."""
    with Pipeline.load(folder, device="cpu").unet.awake() as unet:
        widths = [layer.query.out_features for layer in cross_attentions(unet)]
        context = unet.config.context_width
    home = tmp_path_factory.mktemp("adapters")
    saved(plain(widths, context, EMBED), home / "plain.safetensors")
    saved(plus(widths, context, PATCH_WIDTH, width=40, heads=2, tokens=5), home / "plus.safetensors")
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**ENCODER)).save_pretrained(home / "image_encoder")
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28).save_pretrained(home / "image_encoder")
    return home


def pictures(count: int) -> list[Image.Image]:
    noise = np.random.default_rng(5).integers(0, 256, (count, 8, 10, 3), np.uint8)
    return [Image.fromarray(each).resize((50, 40), Image.Resampling.BILINEAR) for each in noise]


def theirs(folder: Path, adapters: Path, kind: str, shown: list[Image.Image], guidance: float) -> Any:
    encoder = CLIPVisionModelWithProjection.from_pretrained(adapters / "image_encoder")
    pipeline: Any = StableDiffusionPipeline.from_pretrained(
        folder,
        safety_checker=None,
        image_encoder=encoder,
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28),
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(
        str(adapters), subfolder="", weight_name=f"{kind}.safetensors", image_encoder_folder=None
    )
    pipeline.set_ip_adapter_scale(WEIGHT)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    return np.asarray(
        pipeline(
            PROMPT,
            negative_prompt=NEGATIVE,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            latents=noise,
            ip_adapter_image=[shown],
        ).images[0]
    )


@pytest.mark.parametrize(
    ("kind", "count", "guidance"), [("plain", 1, 4.0), ("plus", 1, 4.0), ("plain", 2, 1.0), ("plus", 2, 4.0)]
)
def test_a_picture_drawn_by_image_prompts_is_diffusers(
    folder: Path, adapters: Path, kind: str, count: int, guidance: float
) -> None:
    shown = pictures(count)
    pipeline = Pipeline.load(folder, device="cpu", ip_adapter=adapters / f"{kind}.safetensors")

    def ours(weight: float) -> Any:
        request = Request(
            PROMPT, NEGATIVE, seeds=(SEED,), steps=STEPS, guidance=guidance, sampler="ddim", like="diffusers",
            width=64, height=64, image_prompts=[ImagePrompt(each, weight) for each in shown],
        )  # fmt: skip
        [picture] = pipeline.generate(request)
        return np.asarray(picture.image).astype(int)

    expected = theirs(folder, adapters, kind, shown, guidance)
    # of 255 levels: sums are rounded in another order, at most over the edge to the next
    assert np.abs(ours(WEIGHT) - expected).max() <= 1
    assert np.abs(ours(0.0) - expected).max() > 8  # or else nothing is shown
