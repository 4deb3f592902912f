"""A larger picture: what may be asked for, and that the second pass draws what image to image would."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inkpunk import Control, Enlarge, Facts, Pipeline, Request, RequestError, read_facts
from inkpunk import pipeline as pipeline_file
from inkpunk.cli import main
from inkpunk.models.upscalers import TILE, load_upscaler
from inkpunk.pictures.png_text import infotext
from inkpunk.road.enlarging import EnlargeError
from inkpunk.road.trace import trace
from inkpunk_weights import CheckpointError
from PIL import Image

CPU = torch.device("cpu")
REQUEST = Request("a raven", seeds=(3,), steps=3)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


# -- What may be asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "to", "told"),
    [
        ("2", 2.0, "2"),
        (" 1.5 ", 1.5, "1.5"),
        ("1024x768", (1024, 768), "1024x768"),
        (np.float32(2), 2.0, "2"),
        (np.array([64, 72]), None, None),
        ([64, 72], (64, 72), "64x72"),
        (1, 1.0, "1"),
    ],
)
def test_a_factor_or_a_size(asked: Any, to: object, told: str | None) -> None:
    if to is None:
        with pytest.raises(EnlargeError, match="enlarge: must be a number"):
            Enlarge(asked)
        return
    enlarge = Enlarge(asked)
    assert (enlarge.to, enlarge.told) == (to, told)
    assert Enlarge(enlarge.told) == enlarge
    assert Request("a raven", enlarge=asked).enlarging == enlarge


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"to": "twice"}, "enlarge 'twice': is neither a factor, as 2, nor WIDTHxHEIGHT, as 1024x768"),
        ({"to": 0.5}, "enlarge 0.5: must be 1 to 16 times as large"),
        ({"to": float("nan")}, "enlarge nan: must be 1 to 16"),
        ({"to": (100, 64)}, "enlarge 100x64: width and height must be positive multiples of 8"),
        ({"to": (64,)}, "must be a factor, or a width and a height"),
        ({"to": 2, "by": "magic"}, "enlarge by 'magic': use latents or pixels"),
        ({"to": 2, "by": "latents", "upscaler": "4x.pth"}, "enlarge by latents: an upscaler makes pixels"),
        ({"to": 2, "strength": 0}, "enlarge strength 0: must be above 0 and at most 1"),
        ({"to": 2, "steps": 0}, "enlarge steps 0: must lie between 1 and 1000"),
        ({"to": 2, "steps": "ten"}, "enlarge steps: must be a whole number"),
        ({"to": 2, "sampler": "magic"}, "enlarge: sampler 'magic': there is none of that name"),
    ],
)
def test_what_cannot_be_is_refused_in_words(settings: dict[str, Any], refusal: str) -> None:
    with pytest.raises(EnlargeError) as refused:
        Enlarge(**settings)
    assert refusal in str(refused.value)
    if len(settings) == 1:
        with pytest.raises(RequestError) as asked:
            Request("a raven", enlarge=settings["to"])
        assert str(asked.value) == str(refused.value)


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"enlarge": "56x56"}, "enlarge 56x56: the first pass is larger, 64 x 64; give less for width"),
        ({"enlarge": "256x64", "width": 64, "height": 64}, "is of another shape than 64 x 64"),
        ({"enlarge": Enlarge(2, strength=0.3)}, "enlarge: strength 0.3 of 3 steps is less than one step"),
    ],
)
def test_what_the_model_must_judge_is_refused_before_the_work(
    pipeline: Pipeline, settings: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(RequestError) as refused:
        pipeline.run(replace(REQUEST, **settings))
    assert refusal in str(refused.value)


def test_the_second_pass_is_judged_by_its_own_memory(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_file, "free_memory", lambda _: 800 << 20)
    pipeline.run(REQUEST)
    with pytest.raises(
        RequestError, match=r"8192 x 8192: takes about .* try a smaller size .* --tile-size 512"
    ):
        pipeline.run(replace(REQUEST, width=512, height=512, enlarge=16))
    small = replace(REQUEST, width=512, height=512, enlarge=4)
    with pytest.raises(RequestError, match="2048 x 2048"):
        pipeline.run(replace(small, tile_size=2048))
    pipeline.run(replace(small, tile_size=512))


# -- Which sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        ({"enlarge": 2}, (64, 64), (128, 128)),
        ({"enlarge": 1.3}, (64, 64), (80, 80)),
        ({"enlarge": 1.5, "width": 40, "height": 56}, (40, 56), (64, 80)),
        ({"enlarge": "256x128"}, (88, 48), (256, 128)),
        ({"enlarge": "128x256"}, (48, 88), (128, 256)),
        ({"enlarge": "256x128", "width": 128}, (128, 64), (256, 128)),
    ],
)
def test_the_first_pass_has_the_models_size_in_the_shape_asked_for(
    pipeline: Pipeline, settings: dict[str, Any], first: tuple[int, int], second: tuple[int, int]
) -> None:
    plan = pipeline.plan(replace(REQUEST, **settings))
    assert [(each.width, each.height) for each in plan.passes] == [first, second]


def test_a_picture_that_is_there_has_no_first_pass(pipeline: Pipeline) -> None:
    start = Image.new("RGB", (100, 60), "navy")
    plan = pipeline.plan(replace(REQUEST, init=start, enlarge=2, strength=0.9))
    assert [(each.width, each.height) for each in plan.passes] == [(200, 120)]
    assert plan.request.strength == 0.4
    assert pipeline.plan(plan.request) == plan  # as grids plan again what was planned
    with pytest.raises(RequestError, match="enlarge by latents: an init picture is there in pixels"):
        Request("", init=start, enlarge=Enlarge(2, by="latents"))


# -- What is drawn -------------------------------------------------------------------------------------------------


def test_the_steps_of_both_passes_count_as_one(pipeline: Pipeline) -> None:
    request = replace(REQUEST, steps=2, enlarge=Enlarge(2, strength=0.5, steps=4))
    steps = [*pipeline.run(request)]
    assert [(step.index, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [step.latents.shape[-1] for step in steps] == [8, 8, 16, 16]
    assert pipeline.pictures(request, steps[-1].latents)[0].image.size == (128, 128)


def test_a_second_pass_in_pixels_is_a_picture_that_is_enlarged(pipeline: Pipeline) -> None:
    enlarge = Enlarge(1.5, by="pixels", strength=0.6, steps=3, sampler="euler_a")
    [at_once] = pipeline.generate(replace(REQUEST, enlarge=enlarge))
    [first] = pipeline.generate(REQUEST)
    [then] = pipeline.generate(replace(REQUEST, init=first.image, enlarge=enlarge))
    assert at_once.image.tobytes() == then.image.tobytes()


@pytest.mark.parametrize("by", ["latents", "pixels"])
def test_a_seed_is_a_picture_in_any_batch(pipeline: Pipeline, by: str) -> None:
    enlarge = Enlarge(1.5, by=by, strength=0.6)
    both = pipeline.generate(replace(REQUEST, seeds=(3, 4), enlarge=enlarge))
    [alone] = pipeline.generate(replace(REQUEST, seeds=(4,), enlarge=enlarge))
    assert np.abs(pixels(both[1].image) - pixels(alone.image)).max() <= 1  # sums round otherwise
    assert np.abs(pixels(both[0].image) - pixels(alone.image)).max() > 1


def test_pictures_that_are_drawn_each_by_itself_begin_each_from_its_own(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(REQUEST, seeds=(3, 4), enlarge=Enlarge(1.5))
    together = pipeline.generate(request)
    monkeypatch.setattr(pipeline_file, "draws_alone", lambda *_, **_options: True)
    for one, other in zip(together, pipeline.generate(request), strict=True):
        assert np.abs(pixels(one.image) - pixels(other.image)).max() <= 1


def test_what_overflows_in_the_second_pass_is_drawn_again_from_where_it_began(pipeline: Pipeline) -> None:
    larger = pipeline.plan(replace(REQUEST, enlarge=2)).larger
    assert larger is not None
    begins = torch.randn(1, 4, 16, 16)
    start = pipeline.road(replace(larger, begins=begins)).start()
    assert start.latents is begins and start.strength == 0.6
    with pipeline.unet.awake() as unet:
        steps = [*pipeline._wider_steps(replace(larger, begins=begins), unet, 1)]
        plain = [*pipeline._steps(replace(larger, begins=begins))]
    assert torch.equal(steps[-1].latents, plain[-1].latents)


def test_hints_lead_both_passes(tiny: Path, control_net: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"pose": control_net})
    hint = Control("pose", Image.linear_gradient("L").convert("RGB"), ready=True)
    plan = pipeline.plan(replace(REQUEST, controls=[hint], enlarge=2))
    assert [each.hints[0].size for each in plan.passes] == [(64, 64), (128, 128)]
    followed, plain = (
        pipeline.generate(replace(REQUEST, controls=each, enlarge=2))[0].image for each in ([hint], [])
    )
    assert np.abs(pixels(followed) - pixels(plain)).max() > 1


def test_a_trace_takes_no_second_pass(pipeline: Pipeline) -> None:
    for settings in ({"enlarge": 2}, {"tile_size": 64}):
        with pytest.raises(RequestError, match="trace: follows a picture from its prompt"):
            trace(pipeline, replace(REQUEST, **settings))


# -- What the picture remembers ------------------------------------------------------------------------------------


def test_the_recipe_tells_of_both_passes_as_a_hires_fix(pipeline: Pipeline) -> None:
    asked = replace(REQUEST, sampler="ddim", enlarge=Enlarge(1.5, strength=0.75, steps=4, sampler="euler_a"))
    facts = pipeline.facts(pipeline.plan(asked), 3)
    assert (facts.width, facts.height, facts.steps, facts.strength) == (64, 64, 3, None)
    assert facts.enlarged == {
        "to": "1.5",
        "size": "96x96",
        "by": "latents",
        "strength": "0.75",
        "steps": "4",
        "sampler": "euler_a",
        "spacing": "ays",
    }
    assert Facts.from_json(facts.to_json()) == facts
    told = infotext(facts)
    for pair in (
        "Size: 64x64",
        "Denoising strength: 0.75",
        "Hires upscale: 1.5",
        "Hires upscaler: Latent",
        "Hires steps: 4",
        "Hires sampler: Euler a",
    ):
        assert pair in told
    by_size = pipeline.plan(replace(REQUEST, enlarge=Enlarge("96x96", by="pixels")))
    assert "Hires resize: 96x96, Hires upscaler: Lanczos" in infotext(pipeline.facts(by_size, 3))


# -- Networks that make pictures larger ----------------------------------------------------------------------------


def test_an_upscaler_works_in_tiles_as_it_would_on_the_whole(upscaler: Path) -> None:
    network = load_upscaler(upscaler, CPU)
    assert (network.name, network.scale, len(network.hash)) == ("2x-tiny", 2, 12)
    image = Image.effect_noise((TILE + 60, 40), 60).convert("RGB")
    tiled = network.enlarged(image, image.size)
    with torch.no_grad():
        whole = network.network(torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255)
    whole = (whole[0].permute(1, 2, 0) * 255).round().numpy().astype(int)
    assert tiled.size == (2 * image.width, 2 * image.height)
    # a tile does not see beyond its edge, where it counts least
    assert np.abs(pixels(tiled) - whole).mean() < 0.2
    assert np.abs(pixels(tiled)[:, : 2 * TILE - 120] - whole[:, : 2 * TILE - 120]).max() <= 1
    assert network.enlarged(image.crop((0, 0, 8, 8)), (20, 30)).size == (32, 32)  # twice


def test_an_upscaler_draws_and_is_told(pipeline: Pipeline, upscaler: Path) -> None:
    with_it, without = (
        pipeline.generate(replace(REQUEST, enlarge=Enlarge(1.5, by="pixels", strength=0.5, upscaler=each)))[0]
        for each in (upscaler, None)
    )
    assert np.abs(pixels(with_it.image) - pixels(without.image)).max() > 1
    assert with_it.facts.enlarged["upscaler"].startswith("2x-tiny [")
    told = infotext(with_it.facts)
    assert "Hires upscaler: 2x-tiny" in told and f"Upscaler: {with_it.facts.enlarged['upscaler']}" in told
    start = Image.new("RGB", (64, 64), "navy")
    there = replace(REQUEST, init=start, enlarge=Enlarge(1.5, strength=0.5, upscaler=upscaler))
    facts = pipeline.facts(pipeline.plan(there), 3)
    assert {*facts.enlarged} == {"upscaler"} and facts.strength == 0.5 and facts.width == 96


def test_what_is_no_upscaler_is_refused_in_words(
    tiny: Path, tmp_path: Path, upscaler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"params": {"layer.weight": torch.zeros(3, 3)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not an upscaler that is known here"):
        load_upscaler(tmp_path / "other.pth", CPU)
    with pytest.raises(CheckpointError, match="not an upscaler but a checkpoint"):
        load_upscaler(tiny, CPU)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r'is not installed; pip install "inkpunk\[upscalers\]"'):
        load_upscaler(upscaler, CPU)


# -- On the command line -------------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_generate_enlarges(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    result = run("generate", "a raven", "--model", tiny, "--device", "cpu", "--out", out, "--seed", 3,
                 "--enlarge", "128x64", "--enlarge-by", "pixels", "--tile-size", 64)  # fmt: skip
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert image.size == (128, 64)
    facts = read_facts(out)
    assert (facts.enlarged["by"], facts.tile_size) == ("pixels", 64)
    result = run("generate", "a raven", "--out", out, "--overwrite", "--enlarge-steps", 3)
    assert result.exit_code == 1
    assert "--enlarge-steps: changes nothing without --enlarge; give it, as 2" in result.output


def test_enlarge_takes_the_prompts_from_the_picture(tiny: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    start, out = tmp_path / "small.png", tmp_path / "large.webp"
    settings = ("--model", tiny, "--device", "cpu", "--seed", 3, "--steps", 4, "--out", out, "--overwrite")
    pipeline.generate(replace(REQUEST, negative_prompt="owl"))[0].save(start)
    result = run("enlarge", start, "--by", 1.5, *settings)
    assert result.exit_code == 0, result.output
    facts = read_facts(out)
    assert (facts.prompt, facts.negative_prompt, facts.strength) == ("a raven", "owl", 0.3)
    assert (facts.width, facts.height, facts.tile_size) == (96, 96, 64)

    result = run("enlarge", start, "a fox", "--to", "80x80", "--strength", 0.5, *settings)
    assert result.exit_code == 0, result.output
    facts = read_facts(out)
    assert (facts.prompt, facts.negative_prompt, facts.strength, facts.width) == ("a fox", "", 0.5, 80)

    Image.new("RGB", (40, 40), "navy").save(start)
    result = run("enlarge", start, *settings)
    assert result.exit_code == 0, result.output
    assert "has no recipe of inkpunk's to take a prompt from" in result.output
    assert read_facts(out).prompt == ""

    result = run("enlarge", start, "--by", 2, "--to", "80x80", *settings)
    assert "--by and --to say the same in two ways" in result.output
    result = run("enlarge", tmp_path / "none.png", "", *settings)
    assert "none.png: no such file" in result.output


def test_a_grid_differs_in_how_it_enlarges(tiny: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.linear_gradient("L").resize((40, 40)).save(start)
    result = run("grid", "a raven", "--x", "enlarge-strength=0.4,0.8", "--enlarge", 1.5, "--init", start,
                 "--model", tiny, "--device", "cpu", "--seed", 3, "--out", tmp_path / "grid.png",
                 "--save-cells", tmp_path / "cells")  # fmt: skip
    assert result.exit_code == 0, result.output
    cells = [read_facts(each) for each in sorted((tmp_path / "cells").iterdir())]
    assert [(cell.strength, cell.width) for cell in cells] == [(0.4, 64), (0.8, 64)]
    result = run("grid", "a raven", "--x", "enlarge-strength=0.4,0.8", "--model", tiny)
    assert "enlarge-strength decides nothing without --enlarge" in result.output
