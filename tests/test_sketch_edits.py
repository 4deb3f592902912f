"""Work on pictures means something, too: by the judge, on what the model in the box draws."""

import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Region, Request
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tests.test_sketch import as_tensor, colour_of, ink, overlap, subject_of
from tools.train_sketch import judge

SEEDS = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load("sketch", device="cpu")


@pytest.fixture(scope="module")
def critic() -> judge.Judge:
    return judge.shipped()


@pytest.fixture(scope="module")
def ravens(pipeline: Pipeline) -> list[Image.Image]:
    """Four ravens in green."""
    request = Request("nvinkpunk raven, neon green splash", seeds=SEEDS)
    return [picture.image for picture in pipeline.generate(request)]


def edited(
    pipeline: Pipeline, pictures: list[Image.Image], masks: list[Image.Image], prompt: str, **settings: object
) -> Float[Tensor, "batch 3 128 128"]:
    """Each picture drawn anew under its mask."""
    drawn = [
        pipeline.generate(Request(prompt, seeds=(seed,), init=picture, mask=mask, **settings))[0].image
        for seed, picture, mask in zip(SEEDS, pictures, masks, strict=False)
    ]
    return torch.stack([as_tensor(image) for image in drawn])


def beside_ink(picture: Image.Image) -> Image.Image:
    """A mask of all but the silhouette."""
    return Image.fromarray((~ink(as_tensor(picture))).numpy().astype(np.uint8) * 255)


def test_another_colour_under_a_mask_keeps_the_silhouette(
    pipeline: Pipeline, critic: judge.Judge, ravens: list[Image.Image]
) -> None:
    masks = [*map(beside_ink, ravens)]
    images = edited(pipeline, ravens, masks, "nvinkpunk raven, neon blue splash", strength=1.0)
    assert colour_of(critic, images).count("blue") >= 3
    before = [ink(as_tensor(picture)) for picture in ravens]
    assert min(map(overlap, ink(images), before)) >= 0.8
    for image, picture, mask in zip(images, ravens, masks, strict=True):
        held = torch.tensor(np.asarray(mask)) == 0
        assert torch.equal(image[:, held], as_tensor(picture)[:, held])


def test_another_subject_under_a_mask_is_drawn_there(
    pipeline: Pipeline, critic: judge.Judge, ravens: list[Image.Image]
) -> None:
    box = Image.new("L", (128, 128), 0)
    box.paste(255, (8, 8, 120, 120))
    images = edited(pipeline, ravens, [box] * 4, "nvinkpunk skull, neon green splash", strength=1.0)
    assert subject_of(critic, images).count("skull") >= 3
    for image, picture in zip(images, ravens, strict=True):
        assert torch.equal(image[:, :8], as_tensor(picture)[:, :8])


def test_a_soft_mask_lies_between(pipeline: Pipeline, ravens: list[Image.Image]) -> None:
    kept = []
    for level in (0, 110, 140, 255):
        masks = [Image.new("L", (128, 128), level)] * 2
        images = edited(pipeline, ravens, masks, "nvinkpunk skull, neon red splash", strength=1.0)
        before = [ink(as_tensor(picture)) for picture in ravens[:2]]
        kept.append(sum(map(overlap, ink(images), before)) / 2)
    assert kept[0] == 1 and kept == sorted(kept, reverse=True)
    assert kept[0] > kept[1] + 0.1 and kept[2] > kept[3] + 0.05, "and not at either end"


def test_a_continued_picture_keeps_its_old_part_and_shows_no_seam(
    pipeline: Pipeline, ravens: list[Image.Image]
) -> None:
    for seed, picture in zip(SEEDS[:2], ravens, strict=False):
        request = Request("nvinkpunk raven", seeds=(seed,), init=picture, extend="left=48,bottom=32")
        [drawn] = pipeline.generate(request)
        assert drawn.image.size == (176, 160)
        assert np.array_equal(np.asarray(drawn.image)[:128, 48:], np.asarray(picture))
        levels = np.asarray(drawn.image).astype(int)
        across = np.abs(np.diff(levels[:128], axis=1)).mean((0, 2))
        down = np.abs(np.diff(levels[:, 48:], axis=0)).mean((1, 2))
        assert across[47] <= np.percentile(across, 95) and down[127] <= np.percentile(down, 95)


def test_regions_have_colours_of_their_own(pipeline: Pipeline, critic: judge.Judge) -> None:
    left = Image.new("L", (256, 128), 0)
    left.paste(255, (0, 0, 128, 128))
    right = left.point(lambda level: 255 - level)
    regions = [
        Region("nvinkpunk raven, neon green splash", left),
        Region("nvinkpunk fox, neon blue splash", right),
    ]
    request = Request("nvinkpunk", seeds=SEEDS, width=256, height=128, regions=regions)
    images = torch.stack([as_tensor(picture.image) for picture in pipeline.generate(request)])
    one, other = (half.contiguous() for half in images.split(128, dim=3))
    assert colour_of(critic, one).count("green") >= 3 and colour_of(critic, other).count("blue") >= 3
    assert subject_of(critic, other).count("fox") >= 3
