"""A seed is a picture in any batch: to the bit where each is drawn by itself, to one level where they share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.pictures.picture import Picture
from inkpunk.road.batch import LARGE, draws_alone
from PIL import Image

GRADIENT = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
# texts of other lengths, parts and negative prompts, noise in every step, a start from a picture
REQUESTS = {
    "a prompt": Request("a raven", seeds=(1, 2, 3), steps=2, sampler="euler_a"),
    "chosen": Request("{fox|owl AND [cat|bat]|" + "ink, " * 80 + "}", "{|wolf}", seeds=(1, 2, 4), steps=2),
    "unguided": Request("a raven", seeds=(1, 2, 3), steps=2, guidance=1.0),
    "init": Request(
        "a raven", seeds=(1, 2, 3), steps=3, init=Image.radial_gradient("L").convert("RGB").resize((64, 64))
    ),
}


def worst(request: Request, pipeline: Pipeline) -> int:
    """The largest difference, in levels, of a batch from its pictures drawn alone, and in another order."""

    def levels(pictures: list[Picture]) -> np.ndarray:
        return np.stack([np.asarray(picture.image) for picture in pictures]).astype(int)

    together = levels(pipeline.generate(request))
    backwards = levels(pipeline.generate(replace(request, seeds=request.seeds[::-1])))[::-1]
    alone = levels([pipeline.generate(replace(request, seeds=(seed,)))[0] for seed in request.seeds])
    return max(int(np.abs(together - other).max()) for other in (backwards, alone))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("dtype", "name"), [*(("bfloat16", name) for name in REQUESTS), ("float16", "chosen")]
)
def test_below_float32_a_cpu_draws_the_same_bits_in_any_batch(tiny: Path, dtype: str, name: str) -> None:
    request = replace(REQUESTS[name], width=64, height=64)
    assert not worst(request, Pipeline.load(tiny, device="cpu", dtype=dtype))


@pytest.mark.parametrize("name", ["a prompt", "chosen"])
def test_large_pictures_have_the_same_bits_in_any_batch(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("inkpunk.road.batch.LARGE", 64 * 64)  # which is large for a tiny network
    assert not worst(replace(REQUESTS[name], width=64, height=64), pipeline)


@pytest.mark.thorough
def test_small_pictures_in_float32_are_true_to_one_level(sketch: Pipeline) -> None:
    request = Request("nvinkpunk red [raven|fox]", seeds=(11, 12, 13, 14), steps=8, sampler="ddim")
    assert worst(request, sketch) == 1  # and not to the bit: sums in another order


def test_only_a_cpu_draws_pictures_by_themselves() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert draws_alone(cpu, torch.float32, LARGE) and draws_alone(cpu, torch.bfloat16, 1)
    assert not draws_alone(cpu, torch.float32, LARGE - 1)
    assert not draws_alone(cuda, torch.float16, LARGE)
