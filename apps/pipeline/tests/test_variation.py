"""Variations: the initial noise alone is another seed's in part, or its own at another size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Facts, Pipeline, Request, RequestError
from inkpunk.pictures.png_text import infotext
from inkpunk.road.variation import laid_into, towards
from PIL import Image
from torch import Tensor

REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), width=64, height=48)
ROUNDING = 1e-5  # float32, of numbers about 1


def draws(pipeline: Pipeline, request: Request, count: int = 3) -> list[Tensor]:
    """The first draws that a sampler gets."""
    start = pipeline.road(pipeline.plan(request)).start()
    return [next(start.noise) for _ in range(count)]


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    return [*pipeline.run(request)][-1].latents


@pytest.mark.parametrize("like", ["inkpunk", "a1111"])
def test_at_its_ends_a_variation_is_either_seed(pipeline: Pipeline, like: str) -> None:
    request = replace(REQUEST, like=like, sampler="euler")
    for amount, seed in ((0, 3), (1, 8)):
        varied = latents(pipeline, replace(request, vary=(8, amount)))
        assert torch.allclose(varied, latents(pipeline, replace(request, seeds=(seed,))), atol=1e-4)


@settings(deadline=None, max_examples=8)
@given(st.floats(0, 1))
def test_a_variation_begins_with_noise_and_goes_on_with_the_seeds_own(
    pipeline: Pipeline, amount: float
) -> None:
    varied = draws(pipeline, replace(REQUEST, vary=(8, amount)))
    own, other = draws(pipeline, REQUEST), draws(pipeline, replace(REQUEST, seeds=(8,)))
    lengths = [float(draw[0].norm()) for draw in (own[0], varied[0], other[0])]
    assert min(lengths[0], lengths[2]) * 0.9 < lengths[1] < max(lengths[0], lengths[2]) * 1.1
    assert all(map(torch.equal, varied[1:], own[1:]))


def test_more_of_another_seed_is_farther_from_the_own(pipeline: Pipeline) -> None:
    own = latents(pipeline, REQUEST)
    apart = [
        float((latents(pipeline, replace(REQUEST, vary=(8, amount))) - own).norm())
        for amount in (0.1, 0.3, 0.9)
    ]
    assert 0 < apart[0] < apart[1] < apart[2]


def test_each_picture_of_a_batch_varies_by_itself(pipeline: Pipeline) -> None:
    both = latents(pipeline, replace(REQUEST, seeds=(3, 4), vary="8:0.3", seed_resize="48x48"))
    for row, seed in enumerate((3, 4)):
        alone = latents(pipeline, replace(REQUEST, seeds=(seed,), vary="8:0.3", seed_resize="48x48"))
        assert torch.allclose(both[row], alone[0], atol=1e-4)  # another batch rounds otherwise


@pytest.mark.parametrize("like", ["inkpunk", "a1111"])
def test_a_picture_to_start_from_is_sent_back_by_varied_noise(pipeline: Pipeline, like: str) -> None:
    """We take a first draw for the encoding, as diffusers does; it stays the seed's own."""
    request = replace(REQUEST, like=like, init=Image.new("RGB", (64, 48), "green"), strength=0.7)
    varied = replace(request, vary=(8, 1))
    one, other = draws(pipeline, varied), draws(pipeline, replace(request, seeds=(8,)))
    assert torch.allclose(one[0], other[0], atol=ROUNDING)
    assert not torch.allclose(one[1], other[1], atol=0.1)
    starts = [pipeline.road(pipeline.plan(each)).start().latents for each in (request, varied)]
    assert starts[0] is not None
    assert starts[1] is not None
    assert torch.equal(starts[0], starts[1])


def test_automatic1111_takes_the_angle_of_each_column() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(2, 4, 6, 5, generator=generator) for _ in range(2))
    found = towards(one, other, 0.3, by_columns=True)
    a, b = one.double(), other.double()
    angle = torch.acos((a * b).sum(2) / a.norm(dim=2) / b.norm(dim=2)).unsqueeze(2)
    wanted = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)
    assert torch.allclose(found.double(), wanted, atol=ROUNDING)
    assert not torch.allclose(found, towards(one, other, 0.3), atol=0.01)


@settings(deadline=None)
@given(*[st.integers(1, 12)] * 4)
def test_another_size_is_laid_into_the_middle_as_automatic1111_does(
    height: int, width: int, rows: int, columns: int
) -> None:
    noise, other = torch.zeros(1, 4, height, width), torch.ones(1, 4, rows, columns)
    other += torch.arange(rows)[:, None] * 20 + torch.arange(columns)
    down, across = (height - rows) // 2, (width - columns) // 2
    high, wide = rows if down >= 0 else rows + 2 * down, columns if across >= 0 else columns + 2 * across
    top, left, above, before = max(down, 0), max(across, 0), max(-down, 0), max(-across, 0)
    noise[:, :, top : top + high, left : left + wide] = other[
        :, :, above : above + high, before : before + wide
    ]
    assert torch.equal(laid_into(torch.zeros(1, 4, height, width), other), noise)


def test_a_larger_picture_has_the_smaller_ones_noise_in_its_middle(pipeline: Pipeline) -> None:
    small = draws(pipeline, replace(REQUEST, vary=(8, 0.2)))
    large = draws(pipeline, replace(REQUEST, width=96, height=64, vary=(8, 0.2), seed_resize=(64, 48)))
    own = draws(pipeline, replace(REQUEST, width=96, height=64))
    assert torch.equal(large[0][:, :, 1:7, 2:10], small[0])
    assert torch.equal(large[0][:, :, 0], own[0][:, :, 0])  # and its own around it
    assert all(map(torch.equal, large[1:], own[1:]))
    same = draws(pipeline, replace(REQUEST, seed_resize=(64, 48)))
    assert all(map(torch.equal, same, draws(pipeline, REQUEST)))  # its own size changes nothing


def test_the_recipe_tells_both_as_automatic1111_does(pipeline: Pipeline) -> None:
    plan = pipeline.plan(replace(REQUEST, vary=(8, 0.25), seed_resize=(48, 80)))
    facts = pipeline.facts(plan, 3)
    assert (facts.vary, facts.seed_resize) == ("8:0.25", "48x80")
    told = infotext(facts)
    assert "Variation seed: 8, Variation seed strength: 0.25, Seed resize from: 48x80" in told
    assert Facts.from_json(facts.to_json()) == facts
    again = Request("a raven", vary=facts.vary, seed_resize=facts.seed_resize)
    assert (again.varied, again.resized) == ((8, 0.25), (48, 80))


@pytest.mark.parametrize(
    "given", ["8:0.2", (8, 0.2), [8, 0.2], (np.int64(8), np.float64(0.2)), (torch.tensor(8), 0.2)], ids=repr
)
def test_a_variation_is_read_from_text_and_pairs(given: object) -> None:
    assert Request("a", vary=given).varied == (8, 0.2)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("vary", "8", "8:0.2"),
        ("vary", "a:0.2", "8:0.2"),
        ("vary", (8,), "8:0.2"),
        ("vary", 8, "8:0.2"),
        ("vary", (8.5, 0.2), "whole number"),
        ("vary", (8, 1.5), "between 0 and 1"),
        ("vary", "8:nan", "between 0 and 1"),
        ("vary", (-1, 0.2), r"2\*\*63"),
        ("seed_resize", "512", "512x768"),
        ("seed_resize", "512x", "512x768"),
        ("seed_resize", (512, 100), "multiple of 8"),
        ("seed_resize", (0, 8), "multiple of 8"),
    ],
)
def test_what_is_no_variation_is_refused_in_words(name: str, value: object, words: str) -> None:
    with pytest.raises(RequestError, match=rf"^{name.replace('_', ' ')}\b.*{words}"):
        Request("a", **{name: value})  # pyright: ignore[reportArgumentType]
