"""Travels: every frame is a picture with a recipe of its own, and an animation holds them and their recipes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Facts, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.pictures.animation import Animation
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import infotext
from inkpunk.pictures.recipe import read_recipe
from inkpunk.pictures.travel_facts import TravelFacts
from inkpunk.road.travel import frames_between, travel
from PIL import Image
from torch import Tensor

REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), width=64, height=48)
FOX = replace(REQUEST, prompt="a fox")


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    return [*pipeline.run(request)][-1].latents


# -- Blends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [4.0, 1.0])
def test_at_its_ends_a_blend_is_either_prompt(pipeline: Pipeline, guidance: float) -> None:
    request, fox = (replace(each, guidance=guidance) for each in (REQUEST, FOX))
    assert torch.equal(latents(pipeline, replace(request, blend=("a fox", 0))), latents(pipeline, request))
    assert torch.equal(latents(pipeline, replace(request, blend=("a fox", 1))), latents(pipeline, fox))
    assert torch.equal(latents(pipeline, replace(request, blend="a raven:0.4")), latents(pipeline, request))


def test_between_its_ends_what_steers_is_on_the_straight_line(pipeline: Pipeline) -> None:
    plan = pipeline.plan(replace(REQUEST, blend=("a fox", 0.25)))
    seen = list[Tensor]()

    def predict(latents: Tensor, timestep: float, context: Tensor, residuals: object | None = None) -> Tensor:
        seen.append(context)
        return latents

    denoise = pipeline.road(plan).denoise(predict)
    for timestep in (900.0, 500.0):
        denoise(torch.zeros(1, 4, 6, 8), timestep)
    negative, raven, fox = pipeline.encode_prompts(["owl", "a raven", "a fox"])
    assert torch.equal(seen[0][0], negative)
    torch.testing.assert_close(seen[0][1], 0.75 * raven + 0.25 * fox)
    assert seen[0] is seen[1]  # so that the networks remember what they made of it


LONG = "raven, " * 60  # more than a chunk


@pytest.mark.parametrize(
    ("prompt", "blend", "like"),
    [
        (LONG, "a fox", "inkpunk"),
        ("a raven", LONG, "inkpunk"),
        ("a raven", LONG, "comfyui"),
        ("[raven:owl:0.5]", "[fox|cat]", "inkpunk"),
        ("a {raven|owl|cat}", "a {fox|dog|cow}", "inkpunk"),
        ("(raven:1.3)", "a <lora> fox", "a1111"),
    ],
)
def test_prompts_of_any_length_and_kind_are_blended(
    pipeline: Pipeline, prompt: str, blend: str, like: str
) -> None:
    request = replace(REQUEST, prompt=prompt, like=like, seeds=(3, 4))
    drawn = latents(pipeline, replace(request, blend=(blend, 0.5)))
    for other in (request, replace(request, prompt=blend)):
        assert not torch.allclose(drawn, latents(pipeline, other), atol=1e-4)
    alone = latents(pipeline, replace(request, seeds=(4,), blend=(blend, 0.5)))
    assert torch.allclose(drawn[1:], alone, atol=1e-4)  # another batch rounds otherwise


def test_the_recipe_tells_a_blend(pipeline: Pipeline) -> None:
    request = replace(REQUEST, blend=("a {fox|dog}: red", 0.3), seeds=(3, 4, 5, 6))
    plan = pipeline.plan(request)
    told = {pipeline.facts(plan, seed).blend for seed in request.seeds}
    assert told == {"a fox: red:0.3", "a dog: red:0.3"}  # as each seed has chosen
    facts = pipeline.facts(plan, 3)
    assert f'Blend: "{facts.blend}"' in infotext(facts)
    assert Facts.from_json(facts.to_json()) == facts
    assert facts.blend is not None
    again = replace(REQUEST, blend=facts.blend)
    assert torch.equal(latents(pipeline, replace(request, seeds=(3,))), latents(pipeline, again))


@pytest.mark.parametrize(
    ("blend", "words"),
    [
        ("a fox", "blend: must be a prompt and how much of it"),
        ("a fox:much", "blend: must be a prompt and how much of it"),
        (("a fox",), "blend: must be a prompt and how much of it"),
        ((3, 0.5), "blend: must be text"),
        (("a fox", 1.2), "blend 1.2: .* between 0 and 1"),
        (("a fox AND a cat", 0.5), "blend with AND"),
        (("a fox <lora:neon:0.5>", 0.5), "blend: asks for a LoRA"),
        (("a __bird__", 0.5), None),
        (("a \ud800", 0.5), "blend: character 2 is half a surrogate pair"),
    ],
)
def test_what_is_no_blend_is_refused_in_words(blend: object, words: str | None) -> None:
    if words is None:
        assert replace(REQUEST, blend=blend).blended == blend  # text, without lists
        return
    with pytest.raises(RequestError, match=f"^{words}"):
        replace(REQUEST, blend=blend)


def test_a_blend_and_regions_are_refused_together(tmp_path: Path) -> None:
    Image.new("L", (64, 48), 255).save(tmp_path / "all.png")
    with pytest.raises(RequestError, match=r"^blend with regions"):
        replace(REQUEST, blend=("a fox", 0.5), regions=[f"a cat@{tmp_path / 'all.png'}"])


# -- Frames --------------------------------------------------------------------------------------------------------


def test_stops_share_out_the_frames() -> None:
    frames = frames_between(REQUEST, 5, to_prompts=["a fox"], to_seeds=[8, 9])
    assert [frame.prompt for frame in frames] == ["a raven"] * 4 + ["a fox"]
    assert [frame.blended for frame in frames] == [
        None,
        *(("a fox", amount) for amount in (0.25, 0.5, 0.75)),
        None,
    ]
    assert [frame.seeds for frame in frames] == [(3,), (3,), (8,), (8,), (9,)]
    assert [frame.varied for frame in frames] == [None, (8, 0.5), None, (9, 0.5), None]


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 20), st.lists(st.integers(0, 99), max_size=4), st.integers(1, 3))
def test_a_travel_begins_and_ends_at_its_stops_and_goes_evenly(
    count: int, seeds: list[int], prompts: int
) -> None:
    to_prompts = [f"a {place}" for place in range(prompts)]
    frames = frames_between(REQUEST, count, to_prompts=to_prompts, to_seeds=seeds)
    assert frames[0] == REQUEST
    assert frames[-1] == replace(REQUEST, prompt=to_prompts[-1], seeds=(seeds[-1] if seeds else 3,))
    every = ["a raven", *to_prompts]
    places = [every.index(frame.prompt) + (frame.blended or ("", 0.0))[1] for frame in frames]
    assert np.allclose(np.diff(places), prompts / (count - 1))


@pytest.mark.parametrize(
    ("request_", "asked", "words"),
    [
        (REQUEST, {}, "travel: goes nowhere"),
        (REQUEST, {"frames": 1, "to_seeds": [4]}, "frames 1: must lie between 2"),
        (replace(REQUEST, seeds=(3, 4)), {"to_seeds": [4]}, "travel: has one seed at a time, not 2"),
        (replace(REQUEST, vary=(8, 0.2)), {"to_seeds": [4]}, "vary: "),
        (replace(REQUEST, blend=("a cat", 0.2)), {"to_prompts": ["a fox"]}, "blend: "),
    ],
)
def test_a_travel_without_a_way_is_refused(request_: Request, asked: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=f"^{words}"):
        frames_between(request_, **{"frames": 3, **asked})  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def drawn(pipeline: Pipeline) -> list[Picture]:
    """Frames between two prompts and two seeds."""
    requests = frames_between(REQUEST, 4, to_prompts=["a fox"], to_seeds=[8])
    steps = [*travel(pipeline, requests)]
    assert [step.index for step in steps] == [*range(1, steps[0].total + 1)]
    return [step.frame for step in steps if step.frame is not None]


def test_each_frame_is_the_picture_that_its_request_draws(pipeline: Pipeline, drawn: list[Picture]) -> None:
    requests = frames_between(REQUEST, 4, to_prompts=["a fox"], to_seeds=[8])
    for frame, request in zip(drawn, requests, strict=True):
        [picture] = pipeline.generate(request)
        assert frame.image.tobytes() == picture.image.tobytes()
        assert frame.facts == picture.facts
    assert len({frame.image.tobytes() for frame in drawn}) == 4


def test_a_frame_that_cannot_be_drawn_is_refused_before_the_first_step(pipeline: Pipeline) -> None:
    frames = [REQUEST, replace(REQUEST, clip_skip=9)]
    with pytest.raises(RequestError, match="clip skip 9"):
        travel(pipeline, frames)


# -- Animations ----------------------------------------------------------------------------------------------------


def shown(path: Path) -> tuple[list[np.ndarray], list[int]]:
    frames, durations = list[np.ndarray](), list[int]()
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB"), dtype=int))
            durations.append(image.info["duration"])
    return frames, durations


@pytest.mark.parametrize("back", [False, True])
def test_an_animated_png_holds_every_pixel_and_recipe(
    drawn: list[Picture], tmp_path: Path, back: bool
) -> None:
    animation = Animation.of(drawn, 24.0, there_and_back=back)
    path = animation.save(tmp_path / "travel.png")
    frames, durations = shown(path)
    order = [0, 1, 2, 3, 2, 1] if back else [0, 1, 2, 3]
    assert all(np.array_equal(frame, drawn[place].image) for frame, place in zip(frames, order, strict=True))
    assert sum(durations) == round(1000 * len(order) / 24)  # and no millisecond is lost to rounding
    recipe = read_recipe(path)
    assert TravelFacts.from_json(recipe.texts["inkpunk"]) == animation.facts
    assert read_facts(path) == drawn[0].facts  # of the first, where a picture's are looked for
    assert recipe.texts["parameters"] == infotext(drawn[0].facts)


def test_a_webp_looks_the_same_and_tells_the_same(drawn: list[Picture], tmp_path: Path) -> None:
    animation = Animation.of(drawn, 12.0)
    path = animation.save(tmp_path / "travel.webp")
    frames, durations = shown(path)
    assert len(frames) == 4
    assert len(durations) == 4
    apart = [
        np.abs(frame - np.asarray(each.image, dtype=int)).mean()
        for frame, each in zip(frames, drawn, strict=True)
    ]
    assert max(apart) < 12  # levels of 255, of random weights' picture, which is all edges
    recipe = read_recipe(path)
    assert TravelFacts.from_json(recipe.texts["inkpunk"]) == animation.facts
    assert recipe.texts["parameters"] == infotext(drawn[0].facts)


def test_an_animation_that_cannot_be_is_refused(drawn: list[Picture], tmp_path: Path) -> None:
    small = Picture(drawn[0].image.resize((8, 8)), drawn[0].facts)
    for frames, fps in (([drawn[0]], 12.0), ([drawn[0], small], 12.0), (drawn, 0.0), (drawn, float("nan"))):
        with pytest.raises(PictureError):
            Animation.of(frames, fps)
    animation = Animation.of(drawn, 12.0)
    with pytest.raises(PictureError, match=r"\.png or \.webp"):
        animation.save(tmp_path / "travel.gif")
    animation.save(tmp_path / "travel.png")
    with pytest.raises(PictureError, match="exists already"):
        animation.save(tmp_path / "travel.png")
    animation.save(tmp_path / "travel.png", overwrite=True)


def test_a_strangers_travel_is_refused(drawn: list[Picture]) -> None:
    facts = Animation.of(drawn, 12.0).facts
    assert TravelFacts.from_json(facts.to_json()) == facts
    with pytest.raises(PictureError, match="single picture"):
        TravelFacts.from_json(drawn[0].facts.to_json())
    for wrong in ('"fps": 12.0', '"fps": "x"'), ('"there_and_back": false', '"there_and_back": 3'):
        with pytest.raises(PictureError):
            TravelFacts.from_json(facts.to_json().replace(*wrong))
    text = drawn[0].facts.to_json().removesuffix("}")
    for travel_ in ("3", "{}", '{"frames": [], "fps": 1, "there_and_back": true}', '{"frames": 3}'):
        with pytest.raises(PictureError):
            TravelFacts.from_json(f'{text}, "travel": {travel_}}}')


# -- The command ---------------------------------------------------------------------------------------------------


def run(tiny: Path, *arguments: str) -> str:
    options = ["--model", str(tiny), "--device", "cpu", "--seed", "3", "--steps", "2"]
    result = CliRunner().invoke(main, ["travel", *arguments, *options])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.output


def test_frames_in_a_folder_are_pictures_that_generate_draws_again(tiny: Path, tmp_path: Path) -> None:
    run(tiny, "a raven", "a fox", "--to-seed", "8", "--frames", "3", "--out", str(tmp_path / "frames"))
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name[:4] for file in files] == ["0001", "0002", "0003"]
    facts = read_facts(files[1])
    assert (facts.blend, facts.vary, facts.seed) == ("a fox:0.5", "8:0.5", 3)
    again = tmp_path / "again.png"
    result = CliRunner().invoke(
        main,
        ["generate", facts.prompt, "--blend", facts.blend or "", "--vary", facts.vary or "", "--seed", "3",
         "--steps", "2", "--model", str(tiny), "--device", "cpu", "--out", str(again)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_facts(again) == facts
    with Image.open(again) as one, Image.open(files[1]) as other:
        assert one.tobytes() == other.tobytes()


def test_the_command_animates(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "there.webp"
    output = run(tiny, "a raven", "--to-seed", "8", "--frames", "3", "--there-and-back", "--out", str(path))
    assert str(path) in output
    assert len(shown(path)[0]) == 4
    assert "exists already" in run(tiny, "a raven", "--to-seed", "8", "--out", str(path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a raven"], "goes nowhere"),
        (["a raven", "a fox", "--blend", "a cat:0.5"], "blend: is what a travel"),
        (["a raven", "a fox", "--there-and-back"], "--there-and-back"),
        (["a raven", "a fox", "--out", "travel.gif"], "name a"),
        (["a raven", "a fox", "--frames", "1"], "--frames"),
    ],
)
def test_a_travel_that_cannot_be_is_refused_before_the_model_is_loaded(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in run(Path("no-such-model.safetensors"), *arguments)
