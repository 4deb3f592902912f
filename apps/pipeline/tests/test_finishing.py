"""What is done to a drawn picture: its start's colours, and its transparency."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inkpunk import Pipeline, Request
from inkpunk.cli import main
from inkpunk.pictures import colours
from inkpunk.pictures.colours import match_colours
from inkpunk.pictures.pixels import alpha_hash
from PIL import Image


def mottled(
    mean: tuple[int, int, int], spread: int, size: tuple[int, int] = (40, 30), seed: int = 0
) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-spread, spread + 1, (size[1], size[0], 3))
    return Image.fromarray((np.array(mean) + noise).astype(np.uint8))


MIDDLE = st.tuples(*[st.integers(100, 150)] * 3)  # far enough from black and white that nothing is clipped


@settings(deadline=None, max_examples=40)
@example((100, 142, 101), 2, (101, 100, 100), 20)  # little colour blown up to much
@given(MIDDLE, st.integers(2, 25), MIDDLE, st.integers(2, 25))
def test_colours_have_the_others_mean_and_covariance(
    mean: tuple[int, int, int], spread: int, wanted: tuple[int, int, int], wanted_spread: int
) -> None:
    like, image = mottled(wanted, wanted_spread, (24, 56), seed=1), mottled(mean, spread)
    (_, had), (is_mean, is_covariance), (its_mean, its_covariance) = (
        colours._statistics(colours._lab(each))  # pyright: ignore[reportPrivateUsage]
        for each in (image, match_colours(image, like), like)
    )
    assert np.abs(is_mean - its_mean).max() < 0.4  # half a level of 8 bits is 0.2 of lightness
    # The map L gives the image's covariance C that of the other: L (C + FAINT) L = W + FAINT. What L C L misses of W
    # is about FAINT L^2, at most FAINT (W + FAINT) / (C + FAINT); rounding to 8 bits comes beside it.
    held_back = colours.FAINT * np.linalg.eigvalsh(its_covariance)[-1] / np.linalg.eigvalsh(had)[0]
    rounding = 0.02 * its_covariance.trace() + 0.5
    assert np.abs(is_covariance - its_covariance).max() < held_back + rounding


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_colours_that_match_already_are_left_alone(seed: int) -> None:
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8))
    turned = image.transpose(Image.Transpose.ROTATE_90)  # the same colours elsewhere
    assert np.abs(np.asarray(match_colours(image, turned), int) - np.asarray(image)).max() <= 1


def test_a_flat_picture_takes_the_mean_alone() -> None:
    flat = match_colours(Image.new("RGB", (16, 16), "navy"), mottled((120, 130, 140), 20))
    assert flat.getextrema() == tuple((level, level) for level in flat.getpixel((0, 0)) or ())  # pyright: ignore
    assert np.abs(np.array(flat.getpixel((0, 0))) - (120, 130, 140)).max() <= 4


def clear() -> Image.Image:
    image = mottled((90, 120, 150), 60, (64, 64))
    image.putalpha(Image.linear_gradient("L").resize((64, 64)))
    return image


def test_a_drawn_picture_takes_colours_and_transparency_on_request(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(1, 2), steps=2, init=clear(), width=72, height=64, resize="pad")
    asked = replace(request, match_colours=True, keep_alpha=True)
    plan = pipeline.plan(asked)
    assert plan.start is not None
    for before, after in zip(pipeline.generate(request), pipeline.generate(asked), strict=True):
        assert before.image.mode == "RGB" and after.image.mode == "RGBA"
        assert after.image.getchannel("A") == plan.alpha
        assert after.image.convert("RGB") == match_colours(before.image, plan.start)
        assert before.facts != after.facts


def test_a_part_drawn_anew_has_colours_matched_before_it_comes_back_and_alpha_after(
    pipeline: Pipeline,
) -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    request = Request(
        "a raven",
        seeds=(1,),
        steps=2,
        init=clear(),
        mask=mask,
        extend="right=16",
        match_colours=True,
        keep_alpha=True,
    )  # fmt: skip
    [picture] = pipeline.generate(request)
    assert picture.image.size == (80, 64) and request.picture is not None
    held = (33, 0, 64, 64)
    assert picture.image.convert("RGB").crop(held) == request.picture.crop(held)
    alpha = picture.image.getchannel("A")
    assert picture.facts.alpha_hash == alpha_hash(alpha)
    assert alpha.crop((0, 0, 64, 64)) == request.alpha and alpha.crop((64, 0, 80, 64)).getextrema() == (
        255,
        255,
    )
    [idle] = pipeline.generate(replace(request, mask=Image.new("L", (64, 64), 0), extend=None))
    assert idle.image.getchannel("A") == request.alpha


def test_what_changes_nothing_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "opaque.png")
    command = ["generate", "a", "--model", "none.safetensors"]
    opaque = ["--init", str(tmp_path / "opaque.png")]
    for options, words in {
        ("--match-colours",): "match colours: there is no picture to start from",
        ("--keep-alpha",): "keep alpha: there is no picture to start from",
        ("--keep-alpha", *opaque): "keep alpha: the init picture is wholly opaque",
    }.items():
        result = CliRunner().invoke(main, [*command, *options])
        assert result.exit_code == 1 and words in result.output, result.output


def test_a_grid_shows_transparency_on_white_and_its_cells_have_it(tiny: Path, tmp_path: Path) -> None:
    clear().save(tmp_path / "clear.png")
    result = CliRunner().invoke(
        main,
        ["grid", "a raven", "--model", str(tiny), "--device", "cpu", "--steps", "2", "--seed", "1", "--init",
         str(tmp_path / "clear.png"), "--keep-alpha", "--x", "match-colours=yes,no",
         "--out", str(tmp_path / "grid.png"), "--save-cells", str(tmp_path / "cells")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.mode == "RGB"
    for path in (tmp_path / "cells").iterdir():
        with Image.open(path) as cell:
            assert cell.mode == "RGBA" and cell.getchannel("A").tobytes() == clear().getchannel("A").tobytes()
