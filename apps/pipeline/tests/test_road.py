"""Features are laid around the road in any order, and none knows of the others."""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk.road.image_to_image import from_image
from inkpunk.road.plan import Plan
from inkpunk.road.prompts import REPEATED, Steering, steered
from inkpunk.road.road import Predict, Road, Start
from inkpunk_sampling import Denoise, guide, sample, seeded_noise
from inkpunk_unet import Residuals
from PIL import Image
from torch import Tensor

START = Image.new("RGB", (64, 64), (200, 40, 90))
REQUEST = Request("a raven", seeds=(7,), negative_prompt="owl", steps=2)
Feature = Callable[[Pipeline, Road], Road]


def drawn(pipeline: Pipeline, road: Road, steps: int = 2) -> Tensor:
    start = road.start()
    denoise = road.denoise(road.predict)
    settings = {"steps": steps, "start": start.latents, "strength": start.strength}
    *_, last = sample(denoise, start.noise, pipeline.schedule, **settings)
    return road.decode(last.latents)


# -- Toy features, one around each function ------------------------------------------------------------------------


def image_first(pipeline: Pipeline, road: Road) -> Road:
    return from_image(road, lambda: image_to_tensor(START)[None], 0.8, pipeline.encode)


def louder_noise(pipeline: Pipeline, road: Road) -> Road:
    def start() -> Start:
        before = road.start()
        return replace(before, noise=(1.1 * noise for noise in before.noise))

    return replace(road, start=start)


def control(pipeline: Pipeline, road: Road) -> Road:
    """Adds to the UNet's middle, as a control network does."""

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        middle = torch.full((latents.shape[0], 64, 4, 4), 0.3)
        own = Residuals((None,) * 4 + (None,) * 2, middle)
        return road.predict(latents, timestep, context, own if residuals is None else residuals + own)

    return replace(road, predict=predict)


def mask(pipeline: Pipeline, road: Road) -> Road:
    """Denoises one half only."""

    def denoise(predict: Predict) -> Denoise:
        inner = road.denoise(predict)

        def masked(latents: Tensor, timestep: float) -> Tensor:
            prediction = inner(latents, timestep)
            prediction[..., :4] = 0
            return prediction

        return masked

    return replace(road, denoise=denoise)


def mirror(pipeline: Pipeline, road: Road) -> Road:
    return replace(road, decode=lambda latents: road.decode(latents).flip(-1))


FEATURES: list[Feature] = [image_first, louder_noise, control, mask, mirror]


@pytest.fixture(scope="module")
def plan(pipeline: Pipeline) -> Plan:
    return pipeline.plan(REQUEST)


@pytest.mark.parametrize(
    "pair", [*combinations(FEATURES, 2)], ids=lambda pair: "+".join(f.__name__ for f in pair)
)
def test_any_two_features_meet_by_composition(
    pair: tuple[Feature, Feature], pipeline: Pipeline, plan: Plan
) -> None:
    def laid(*features: Feature) -> Tensor:
        road = pipeline.road(plan)
        for feature in features:
            road = feature(pipeline, road)
        return drawn(pipeline, road)

    both = laid(*pair)
    for alone in pair:
        assert not torch.allclose(both, laid(alone), atol=1e-4)  # the other acts, too
    if {*pair} != {image_first, louder_noise}:  # which wrap the same function
        assert torch.equal(both, laid(*reversed(pair)))


# -- What the road gives -------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("init", [None, START])
def test_the_road_is_the_straight_line_to_the_bit(init: Image.Image | None, pipeline: Pipeline) -> None:
    request = replace(REQUEST, init=init, sampler="ddpm")
    noise = seeded_noise(request.seeds, (4, 8, 8))
    contexts = [pipeline.encode_prompts([prompt]) for prompt in ("owl", "a raven")]
    context = torch.cat(contexts)
    with pipeline.unet.awake() as unet, pipeline.vae.awake() as vae:
        start = {}
        if init is not None:
            images = image_to_tensor(init)[None]
            start = {"start": vae.encode(images).sample(next(noise)), "strength": request.strength}
        predict = guide(lambda latents, t: unet(latents, torch.full((2,), int(t)), context), 4.0)
        *_, last = sample(predict, noise, pipeline.schedule, steps=2, **start)
    *_, ours = pipeline.run(request)
    assert torch.equal(ours.latents, last.latents)


def test_the_unet_is_asked_for_the_timestep_as_it_is(pipeline: Pipeline, plan: Plan) -> None:
    context = pipeline.encode_prompts(["a raven"])
    latents = next(pipeline.noise(plan))
    whole, between = (pipeline.predict(latents, t, context) for t in (500.0, 500.25))
    assert not torch.equal(whole, between)
    with pipeline.unet.awake() as unet, torch.no_grad():
        assert torch.equal(between, unet(latents, torch.tensor([500.25]), context))
        assert torch.equal(whole, unet(latents, torch.tensor([500]), context))


def test_a_context_may_change_from_step_to_step(pipeline: Pipeline, plan: Plan) -> None:
    early, late = (
        Steering(pipeline.encode_prompts([prompt]), pipeline.encode_prompts([""]))
        for prompt in ("a raven", "a fox")
    )
    asked: list[tuple[float, Tensor]] = []

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        asked.append((timestep, context))
        return pipeline.predict(latents, timestep, context, residuals)

    contexts = lambda timestep: early if timestep > 400 else late  # noqa: E731
    road = replace(pipeline.road(plan), predict=predict, denoise=steered(contexts, 4.0))
    changed = drawn(pipeline, road, steps=6)
    assert [timestep for timestep, _ in asked] == [999, 799, 599, 400, 200, 0]
    for timestep, context in asked:
        right = early if timestep > 400 else late
        assert torch.equal(context, torch.cat([right.negative, right.prompt]))
    assert len({id(context) for _, context in asked}) == 2  # the same tensor wherever it is the same context
    for one in (early, late):
        assert not torch.equal(
            changed,
            drawn(pipeline, replace(road, denoise=steered(lambda timestep, one=one: one, 4.0)), steps=6),
        )


def test_contexts_that_never_come_again_are_not_kept() -> None:
    seen: list[Tensor] = []

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        seen.append(context)
        return latents

    denoise = steered(lambda timestep: Steering(torch.full((1, 2, 3), timestep)), 1.0)(predict)
    for timestep in range(5 * REPEATED):
        denoise(torch.zeros(2, 4, 8, 8), float(timestep))
    assert [float(context.mean()) for context in seen] == [*range(5 * REPEATED)]


@pytest.mark.parametrize("settings", [{}, {"offload": True}, {"low_memory": True}])
def test_threads_may_draw_with_one_pipeline(tiny: Path, settings: dict[str, bool]) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", **settings)
    requests = [Request(prompt, seeds=(seed,)) for seed, prompt in enumerate(["a raven", "a fox", "an owl"])]
    alone = [pipeline.generate(request)[0].image.tobytes() for request in requests]
    together: dict[int, bytes] = {}

    def draw(number: int) -> None:
        together[number] = pipeline.generate(requests[number])[0].image.tobytes()

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together.get(number) for number in range(len(requests))] == alone
