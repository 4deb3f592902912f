"""Samplers and other programs' conventions, as a request asks for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Request, RequestError
from inkpunk.pictures.png_text import infotext
from inkpunk.road.programs import PROGRAMS
from inkpunk.road.trace import trace
from inkpunk_sampling import CONVENTIONS, SAMPLERS, seeded_noise, timesteps
from PIL import Image

REQUEST = Request("a raven", seeds=(3,), steps=4)


def drawn(pipeline: Pipeline, **changes: object) -> np.ndarray:
    return np.asarray(pipeline.generate(replace(REQUEST, **changes))[0].image)


@pytest.mark.thorough
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_alone_as_in_a_batch(pipeline: Pipeline, sampler: str) -> None:
    together = pipeline.generate(replace(REQUEST, sampler=sampler, seeds=(2, 3)))
    alone = pipeline.generate(replace(REQUEST, sampler=sampler))[0]
    assert together[1].facts.alone == alone.facts and alone.facts.sampler == sampler
    # true to one level: a batch's matrix products round otherwise
    assert np.abs(np.asarray(together[1].image).astype(int) - np.asarray(alone.image)).max() <= 1


@pytest.mark.parametrize("like", CONVENTIONS)
def test_a_program_is_followed_and_remembered(pipeline: Pipeline, like: str) -> None:
    conventions = PROGRAMS[like].sampling
    picture = pipeline.generate(replace(REQUEST, like=like))[0]
    assert picture.facts.like == like
    assert picture.facts.sampler == conventions.sampler
    assert picture.facts.spacing == conventions.spacing(pipeline.schedule, conventions.sampler, 4)
    assert ("RNG: NV" in infotext(picture.facts)) == (like == "a1111")


def test_programs_draw_the_same_settings_differently(pipeline: Pipeline) -> None:
    pictures = {
        drawn(pipeline, like=like, sampler="euler_a", spacing="karras").tobytes() for like in CONVENTIONS
    }
    assert len(pictures) == len(CONVENTIONS)


def test_like_automatic1111_the_noise_is_cudas(pipeline: Pipeline) -> None:
    plan = pipeline.plan(replace(REQUEST, like="a1111"))
    expected = next(seeded_noise([3], (4, 8, 8), "philox"))
    assert torch.equal(next(pipeline.noise(plan)), expected)


@pytest.mark.parametrize(("like", "steps"), [("inkpunk", 3), ("a1111", 4), ("comfyui", 4), ("diffusers", 3)])
def test_image_to_image_runs_as_many_steps_as_the_program(pipeline: Pipeline, like: str, steps: int) -> None:
    init = Image.new("RGB", (64, 64), "white")
    request = replace(REQUEST, like=like, sampler="euler", init=init, strength=0.75)
    assert [step.index for step in pipeline.run(request)] == [*range(1, steps + 1)]


def test_like_automatic1111_an_init_pictures_noise_is_the_seeds_first(pipeline: Pipeline) -> None:
    init = Image.new("RGB", (64, 64), "white")
    starts = {
        like: pipeline.road(pipeline.plan(replace(REQUEST, like=like, init=init))).start()
        for like in ("a1111", "inkpunk")
    }
    draws = seeded_noise([3], (4, 8, 8), "philox")
    assert torch.equal(next(starts["a1111"].noise), next(draws))
    ours = seeded_noise([3], (4, 8, 8))
    next(ours)  # has chosen the encoding
    assert torch.equal(next(starts["inkpunk"].noise), next(ours))


def test_the_name_of_a_sampler_may_say_the_spacing(pipeline: Pipeline) -> None:
    picture = pipeline.generate(replace(REQUEST, sampler="DPM++ 2M SDE Exponential"))[0]
    assert (picture.facts.sampler, picture.facts.spacing) == ("dpmpp_2m_sde", "exponential")
    assert "Sampler: DPM++ 2M SDE, Schedule type: Exponential" in infotext(picture.facts)


def test_eta_changes_the_picture_and_is_remembered(pipeline: Pipeline) -> None:
    none, half, one = (drawn(pipeline, sampler="euler_a", eta=eta) for eta in (0.0, 0.5, 1.0))
    assert not np.array_equal(none, half) and not np.array_equal(half, one)
    assert np.array_equal(one, drawn(pipeline, sampler="euler_a"))
    assert np.array_equal(none, drawn(pipeline, sampler="euler"))
    assert pipeline.generate(replace(REQUEST, sampler="euler_a", eta=0.5))[0].facts.eta == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "heun", "eta": 0.5}, "sampler 'heun' leaves no choice of noise"),
        ({"sampler": "ddim", "eta": 1.5}, "must lie between 0, which is no noise, and 1"),
        ({"sampler": "ddim", "eta": float("nan")}, "must lie between 0"),
        ({"like": "midjourney"}, "there is no such program; use inkpunk, a1111, comfyui, diffusers"),
        ({"spacing": "even"}, "spacing 'even': there is none of that name"),
        ({"sampler": "DPM++ 2M Karras", "spacing": "beta"}, "give one of the two"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        replace(REQUEST, **changes)


def test_clip_skip_counts_as_the_program_counts(pipeline: Pipeline) -> None:
    plain = drawn(pipeline)
    assert np.array_equal(drawn(pipeline, clip_skip=1), plain)
    second = drawn(pipeline, clip_skip=2)
    assert not np.array_equal(second, plain)
    settings = {"like": "diffusers", "sampler": "euler", "spacing": "karras"}
    assert np.array_equal(drawn(pipeline, clip_skip=0, **settings), drawn(pipeline, **settings))
    facts = [
        pipeline.generate(replace(REQUEST, clip_skip=skip, like=like))[0].facts
        for skip, like in ((2, "a1111"), (1, "diffusers"))
    ]
    assert all("Clip skip: 2" in infotext(each) for each in facts)  # in AUTOMATIC1111's words
    both = {
        like: pipeline.contexts(pipeline.plan(replace(REQUEST, clip_skip=skip, like=like)))(999.0)
        for skip, like in ((2, "a1111"), (1, "diffusers"))
    }
    assert torch.equal(both["a1111"].negative, pipeline.encode_prompts([""], 1))
    assert torch.equal(
        both["diffusers"].negative, pipeline.encode_prompts([""])
    )  # the negative prompt's are all kept
    assert torch.equal(both["a1111"].prompt, both["diffusers"].prompt)
    contexts = pipeline.encode_prompts(["a raven", "a fox"], 1)
    assert torch.equal(contexts[:1], pipeline.encode_prompts(["a raven"], 1))
    assert not torch.equal(contexts[:1], pipeline.encode_prompts(["a raven"]))


@pytest.mark.parametrize(("like", "least"), [("inkpunk", 1), ("diffusers", 0)])
def test_a_clip_skip_that_leaves_no_layer_is_refused(pipeline: Pipeline, like: str, least: int) -> None:
    with pytest.raises(RequestError, match=f"must be at least {least}, which is the last layer"):
        replace(REQUEST, like=like, clip_skip=least - 1)
    with pytest.raises(RequestError, match="this model's text encoder has 2 layers"):
        pipeline.plan(replace(REQUEST, like=like, clip_skip=least + 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"like": "a1111", "sampler": "DPM++ SDE Karras", "clip_skip": 2},
        {"like": "comfyui", "sampler": "dpm2_a", "eta": 0.5},
        {"like": "diffusers", "sampler": "deis"},
    ],
    ids=str,
)
def test_trace_draws_what_generate_draws(pipeline: Pipeline, changes: dict[str, object]) -> None:
    request = replace(REQUEST, **changes)
    *_, last = trace(pipeline, request)
    assert last.picture is not None
    [expected] = pipeline.generate(request)
    assert last.picture.facts == expected.facts
    assert np.array_equal(np.asarray(last.picture.image), np.asarray(expected.image))


def test_a_choice_is_the_same_whether_it_is_made_or_left_open(pipeline: Pipeline) -> None:
    """What was drawn once need not be drawn again for a grid."""
    chosen = {"sampler": "euler_a", "spacing": "ays", "eta": 1.0, "clip_skip": 1}
    plans = [pipeline.plan(replace(REQUEST, **each)) for each in ({"sampler": "Euler a"}, chosen)]
    assert replace(plans[0], request=REQUEST) == replace(plans[1], request=REQUEST)
    assert pipeline.facts(plans[0], 3) == pipeline.facts(plans[1], 3)


def test_a_plan_knows_its_path(pipeline: Pipeline) -> None:
    plan = pipeline.plan(replace(REQUEST, sampler="euler", spacing="karras"))
    assert plan.path == (*timesteps(pipeline.schedule, 4, "karras"), -1)
