"""Pictures drawn with an adapter, and checkpoints that one was merged into, are diffusers' with the same file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from inkpunk import Lora, Pipeline, Request
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.training.low_rank import LowRankLayers
from inkpunk_weights import save_lora

PROMPT, STEPS, SEED = "nvinkpunk raven", 3, 7


@pytest.fixture(scope="module", params=["small", pytest.param("full", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, diffusers_folder: Callable[[str], Path]) -> Path:
    return diffusers_folder(request.param)


@pytest.fixture(scope="module")
def lora(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of both networks, convolutions and all."""
    pipeline, generator = Pipeline.load(folder, device="cpu"), torch.Generator().manual_seed(0)
    changes = {}
    for name, network in (("text_encoder", pipeline.text_encoder), ("unet", pipeline.unet)):
        with network.awake() as module:
            beside = LowRankLayers(module, rank=4, convolutions=name == "unet", generator=generator)
            for layer in beside.layers.values():
                torch.nn.init.normal_(layer.up, std=0.05, generator=generator)
            changes[name] = beside.changes()
            beside.remove()
    path = tmp_path_factory.mktemp("lora") / "ink.safetensors"
    save_lora(path, **changes, dtype=torch.float32)
    return path


def theirs(folder: Path, lora: Path | None, weight: float = 1.0) -> np.ndarray[Any, Any]:
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="ink")
        pipeline.set_adapters("ink", weight)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    return np.asarray(
        pipeline(PROMPT, num_inference_steps=STEPS, guidance_scale=4.0, latents=noise).images[0]
    )


def ours(pipeline: Pipeline) -> np.ndarray[Any, Any]:
    request = Request(
        PROMPT,
        seeds=(SEED,),
        steps=STEPS,
        guidance=4.0,
        sampler="ddim",
        like="diffusers",
        width=64,
        height=64,
    )
    [picture] = pipeline.generate(request)
    return np.asarray(picture.image)


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_a_picture_with_an_adapter_is_diffusers_and_so_is_one_of_the_checkpoint_it_was_merged_into(
    folder: Path, lora: Path, tmp_path: Path
) -> None:
    expected = theirs(folder, lora, 0.8)
    plain = Pipeline.load(folder, device="cpu")
    assert difference(ours(plain), expected) > 8  # or else nothing is shown
    # of 255 levels: sums are rounded in another order, at most over the edge to the next
    assert difference(ours(plain.with_adapters(Lora(lora, 0.8))), expected) <= 1
    convert_checkpoint(folder, tmp_path / "baked", loras=[Lora(lora, 0.8)])
    assert difference(theirs(tmp_path / "baked", None), expected) <= 1
