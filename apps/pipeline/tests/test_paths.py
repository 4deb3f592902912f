"""Pictures that are given are told by their paths."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from inkpunk import Control, ImagePrompt, Pipeline, Request, read_facts
from inkpunk.cli import main
from inkpunk.pictures.paths import path_of
from inkpunk.pictures.png_text import infotext
from inkpunk.road.facts import facts_of
from inkpunk.road.regions import Region
from PIL import Image


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clear = Image.linear_gradient("L").resize((64, 64)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((64, 64)))
    clear.save("clear.png")
    clear.convert("RGB").save("start.png")
    clear.getchannel("A").save("mask.png")


def test_paths_are_kept_as_they_were_written(pipeline: Pipeline) -> None:
    request = Request(
        "a",
        seeds=(1,),
        init=Path("clear.png"),
        mask="mask.png",
        controls=("tile:start.png:0.5", Control("tile", Image.open("start.png"))),
        image_prompts=("./start.png:0.6", ImagePrompt("mask.png")),
        regions=("b@mask.png", Region("c", Path("mask.png"))),
    )
    paths = facts_of(pipeline.plan(replace(request, steps=3)), 1)["paths"]
    assert paths == {
        "init": "clear.png",
        "mask": "mask.png",
        "control tile": "start.png",
        "image prompt 1": "./start.png",
        "image prompt 2": "mask.png",
        "region 1": "mask.png",
        "region 2": "mask.png",
    }
    assert facts_of(pipeline.plan(replace(request, mask="alpha")), 1)["paths"]["mask"] == "alpha"


def test_what_is_given_as_pixels_has_no_path_and_gets_none() -> None:
    with Image.open("start.png") as given:
        given.load()
        assert path_of(Request("a", init=given).picture) is None
    kept = Request("a", init="start.png").picture
    assert kept is not None and replace(Request("a", init=kept), steps=3).picture is kept
    stranger = Image.new("RGB", (8, 8))
    stranger.info["inkpunk.path"] = 7
    assert path_of(stranger) is None


@pytest.mark.parametrize("resize", ["fill", "pad"])
def test_a_picture_and_the_cells_of_a_grid_tell_it(pipeline: Pipeline, tiny: Path, resize: str) -> None:
    common = [
        "--model",
        str(tiny),
        "--device",
        "cpu",
        "--init",
        "start.png",
        "--width",
        "72",
        "--resize",
        resize,
    ]
    result = CliRunner().invoke(
        main, ["grid", "a", "--x", "steps=2,3", *common, "--out", "grid.png", "--save-cells", "cells"]
    )
    assert result.exit_code == 0, result.output
    for path in Path("cells").iterdir():
        facts = read_facts(path)
        assert facts.paths == {"init": "start.png"}
        assert 'Input paths: "init: start.png"' in infotext(facts)
