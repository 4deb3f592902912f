"""What a request asks of guidance beyond its scale, from the command line to the pixels and back out of the file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from inkpunk import Facts, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import infotext
from inkpunk.road.guidance import planned_guidance
from inkpunk.road.prompts import Steering, steered
from inkpunk.road.trace import trace
from inkpunk_sampling import guide, projected, rescaled, within
from inkpunk_unet import Residuals
from torch import Tensor

REQUEST = Request("a raven", seeds=(7,), steps=4, guidance=7.5, width=64, height=64)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rescale": {"guidance_rescale": 0.7},
    "interval": {"guidance_interval": (0.28, 5.42)},
    "apg": {"apg": True},
    "all": {"guidance_rescale": 0.7, "guidance_interval": (0.28, 5.42), "apg": True},
}


@pytest.fixture(scope="module")
def drawn(sketch: Pipeline) -> dict[str, Picture]:
    return {name: sketch.generate(replace(REQUEST, **each))[0] for name, each in OPTIONS.items()}


# -- Pictures ------------------------------------------------------------------------------------------------------


def test_every_option_changes_the_picture_and_its_recipe(drawn: dict[str, Picture]) -> None:
    assert len({picture.image.tobytes() for picture in drawn.values()}) == len(OPTIONS)
    for name, picture in drawn.items():
        plain = drawn["plain"].facts
        assert picture.facts == replace(plain, **OPTIONS[name])
        assert (picture.facts == plain) is (name == "plain")


def test_a_run_leaves_nothing_to_the_next_and_a_seed_is_a_picture(pipeline: Pipeline) -> None:
    alone = replace(REQUEST, **OPTIONS["all"])
    *_, single = pipeline.run(alone)
    *_, again = pipeline.run(alone)
    assert torch.equal(single.latents, again.latents)
    *_, batch = pipeline.run(replace(alone, seeds=(5, 7)))
    # float32 sums depend on the batch they are computed in; a high scale lengthens the difference
    torch.testing.assert_close(
        batch.latents[1:], single.latents, rtol=0, atol=1e-4 * float(single.latents.abs().max())
    )


def test_where_nothing_is_guided_the_picture_is_the_prompts_alone(sketch: Pipeline) -> None:
    steps = replace(REQUEST, steps=2, spacing="karras")
    # two steps are at sigma 14.6 and 0.03
    nowhere = sketch.generate(replace(steps, guidance_interval=(1.0, 2.0), negative_prompt="owl"))[0]
    assert nowhere.image.tobytes() == sketch.generate(replace(steps, guidance=1.0))[0].image.tobytes()
    everywhere = sketch.generate(replace(steps, guidance_interval=(0.0, 15.0)))[0]
    assert everywhere.image.tobytes() == sketch.generate(steps)[0].image.tobytes()


# -- What the model is asked ---------------------------------------------------------------------------------------


def test_outside_of_the_interval_the_model_sees_the_prompt_alone_as_one_tensor(pipeline: Pipeline) -> None:
    asked: list[tuple[float, Tensor]] = []

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        assert latents.shape[0] == context.shape[0]
        asked.append((timestep, context))
        return latents

    plan = pipeline.plan(
        replace(REQUEST, guidance_interval=(0.28, 5.42), seeds=(1, 2), negative_prompt="owl")
    )
    denoise = pipeline.road(plan).denoise(predict)
    for timestep in (999.0, 900.0, 700.0, 400.0, 50.0, 0.0):
        denoise(torch.zeros(2, 4, 8, 8), timestep)
    owl, raven = pipeline.encode_prompts(["owl", "a raven"])
    alone, both = torch.stack([raven, raven]), torch.stack([owl, owl, raven, raven])
    for timestep, context in asked:
        assert torch.equal(context, both if timestep in (700.0, 400.0) else alone)
    assert len({id(context) for _, context in asked}) == 2  # so that what is computed of it is computed once


@pytest.mark.parametrize("side", [64, 512, 1024])
def test_it_is_v_that_is_rescaled_and_apgs_threshold_grows_with_the_picture(
    pipeline: Pipeline, side: int
) -> None:
    latents, outputs = torch.randn(1, 4, side // 8, side // 8), 5 * torch.randn(2, 4, side // 8, side // 8)
    schedule = pipeline.schedule
    plan = pipeline.plan(replace(REQUEST, width=side, height=side, apg=True, guidance_rescale=0.7))
    paper = 15 * side / 1024  # Stable Diffusion XL's, at 1024 x 1024
    combine = rescaled(projected(7.5, schedule, threshold=paper), 0.7, schedule)
    ours = planned_guidance(plan, schedule)(lambda latents, t: outputs, lambda latents, t: latents)
    assert torch.equal(ours(latents, 700.0), guide(lambda latents, t: outputs, combine)(latents, 700.0))


def test_prompts_that_change_from_step_to_step_change_outside_of_the_interval_too(pipeline: Pipeline) -> None:
    early, late = (
        Steering(pipeline.encode_prompts([prompt]), pipeline.encode_prompts(["owl"]))
        for prompt in ("a raven", "a fox")
    )
    seen: list[Tensor] = []

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        seen.append(context)
        return latents

    denoise = steered(
        lambda timestep: early if timestep > 400 else late,
        lambda both, alone: within(both, alone, pipeline.schedule, 20.0),
    )(predict)
    for timestep in (900.0, 500.0, 100.0, 600.0):
        denoise(torch.zeros(1, 4, 8, 8), timestep)
    assert [id(context) for context in seen] == [id(seen[i]) for i in (0, 0, 2, 0)]
    assert torch.equal(seen[0], early.prompt)
    assert torch.equal(seen[2], late.prompt)
    assert steered(lambda timestep: early, 1.0)  # a number is still a guidance


@pytest.mark.parametrize(("name", "told"), [("plain", " (2 predictions)"), ("all", "")])
def test_trace_draws_the_same_picture_and_tells_which_step_took_two_predictions(
    pipeline: Pipeline, name: str, told: str
) -> None:
    request = replace(REQUEST, **OPTIONS[name])
    stages = [*trace(pipeline, request)]
    assert f"one sampling step{told}" in [stage.name for stage in stages]  # at sigma 14.6, above the interval
    picture = stages[-1].picture
    assert picture is not None
    (same,) = pipeline.generate(request)
    assert (picture.image.tobytes(), picture.facts) == (same.image.tobytes(), same.facts)


# -- Refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"guidance_rescale": 1.5}, "guidance rescale 1.5: must lie between 0 and 1"),
        ({"guidance_rescale": float("nan")}, "guidance rescale nan: must lie"),
        ({"guidance_interval": (5.0, 1.0)}, "guidance interval 5 to 1: must rise"),
        ({"guidance_interval": (-1.0, 1.0)}, "guidance interval -1 to 1: must rise"),
        ({"guidance_interval": (1.0, float("inf"))}, "guidance interval 1 to inf: must rise"),
        ({"guidance_interval": (float("nan"), 1.0)}, "guidance interval nan to 1: must rise"),
        ({"apg": True, "guidance": 1.0}, "apg: without effect at guidance 1"),
        (OPTIONS["all"] | {"guidance": 1.0}, "guidance rescale, guidance interval, apg: without effect"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(RequestError, match=line) as error:
        Request("a raven", **settings)
    assert "\n" not in str(error.value)


def test_what_would_do_nothing_with_this_model_is_refused_before_the_work(pipeline: Pipeline) -> None:
    off = replace(pipeline, defaults=replace(pipeline.defaults, guidance=1.0))
    with pytest.raises(RequestError, match="apg: without effect at guidance 1"):
        off.run(Request("a raven", apg=True))
    for interval in ((200.0, 800.0), (0.0, 0.01)):  # timesteps in the place of sigmas, for one
        with pytest.raises(RequestError, match=r"noise levels \(sigmas\) are 0.03 to 14.6"):
            pipeline.run(Request("a raven", guidance_interval=interval))


# -- Command line and files ----------------------------------------------------------------------------------------


def test_the_command_line_asks_for_them_and_the_file_remembers(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    arguments = [
        "generate",
        "a raven",
        "--model",
        str(tiny),
        "--device",
        "cpu",
        "--steps",
        "2",
        "--out",
        str(out),
    ]
    asked = ["--guidance-rescale", "0.7", "--guidance-interval", "0.28:5.42", "--apg"]
    result = CliRunner().invoke(main, [*arguments, *asked])
    assert result.exit_code == 0, result.output
    facts = read_facts(out)
    assert (facts.guidance_rescale, facts.guidance_interval, facts.apg) == (0.7, (0.28, 5.42), True)


@pytest.mark.parametrize("interval", ["0.28", "a:b", "1:2:3", ""])
def test_a_malformed_interval_gets_one_clear_line(tiny: Path, interval: str) -> None:
    result = CliRunner().invoke(
        main, ["trace", "a raven", "--model", str(tiny), "--guidance-interval", interval]
    )
    assert result.exit_code == 2
    assert f"{interval!r} is not LOW:HIGH" in result.output


def test_other_programs_read_what_they_have_words_for(facts: Facts) -> None:
    assert "CFG Rescale phi: 0.7" in infotext(replace(facts, guidance_rescale=0.7))
    assert "Rescale" not in infotext(facts)


def test_facts_read_back_what_was_written_and_refuse_what_no_picture_had(facts: Facts) -> None:
    for told in (facts, replace(facts, guidance_interval=(0.0, 5.42), apg=True, guidance_rescale=1.0)):
        assert Facts.from_json(told.to_json()) == told
    for damaged in (
        '"apg": 1',
        '"guidance_interval": [1]',
        '"guidance_interval": [1, "2"]',
        '"guidance_interval": 3',
    ):
        name = damaged.split('"')[1]
        text = facts.to_json().replace(f'"{name}": {"false" if name == "apg" else "null"}', damaged)
        with pytest.raises(PictureError, match=name):
            Facts.from_json(text)


def test_pictures_of_earlier_versions_had_none_of_it(facts: Facts) -> None:
    text = facts.to_json()
    for part in (', "guidance_rescale": 0.0', ', "guidance_interval": null', ', "apg": false'):
        assert part in text
        text = text.replace(part, "")
    assert Facts.from_json(text) == facts
