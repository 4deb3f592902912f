"""How a picture comes to a size of another shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Control, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.cli.options import choices
from inkpunk.pictures.fitting import RESIZES, cut_off, find_resize, fitted, resized_in_words, size_within
from PIL import Image

SIDES = st.integers(1, 90)
SIZES = st.tuples(*[st.integers(1, 8).map(lambda each: each * 8)] * 2)
WIDE = Image.fromarray(np.arange(0, 240, dtype=np.uint8).reshape(10, 24)).convert("RGB")


@settings(deadline=None, max_examples=60)
@given(st.tuples(SIDES, SIDES), SIZES, st.sampled_from(RESIZES), st.sampled_from(["RGB", "L"]))
def test_any_picture_comes_to_any_size(
    picture: tuple[int, int], size: tuple[int, int], resize: str, mode: str
) -> None:
    image = Image.new(mode, picture, "orange" if mode == "RGB" else 77)
    brought = fitted(image, size, resize)
    assert brought.size == size and brought.mode == mode
    assert brought.getcolors() == [
        (size[0] * size[1], image.getpixel((0, 0)))
    ]  # nothing comes from elsewhere
    assert fitted(brought, size, resize) is brought


@given(st.tuples(*[st.integers(1, 9000)] * 2), SIZES)
def test_a_size_within_another_is_its_own_and_touches_it(
    picture: tuple[int, int], size: tuple[int, int]
) -> None:
    within = size_within(picture, *size)
    assert within[0] % 8 == within[1] % 8 == 0
    assert within[0] <= size[0] and within[1] <= size[1] and (within[0] == size[0] or within[1] == size[1])
    assert size_within(picture, *within) == within


def test_a_padded_picture_is_whole_and_goes_on_at_its_edges() -> None:
    padded = fitted(WIDE, (24, 24), "pad")
    assert padded.crop((0, 7, 24, 17)) == WIDE
    above = np.asarray(padded)[:7, :, 0].astype(int)
    assert above.max() < 40  # as its first row, whose levels are 0 to 23, more than as the picture's middle
    grey = np.asarray(fitted(WIDE.convert("L"), (24, 24), "pad"))
    assert (grey[:7] == np.arange(24)).all()  # a mask or an alpha is not blurred
    assert set(np.asarray(fitted(WIDE.convert("L"), (24, 24), "pad", margin=255))[:7].ravel()) == {255}


def test_what_becomes_of_a_shape_is_told() -> None:
    assert (
        resized_in_words((300, 100), (48, 48), "fill")
        == "66.7% of its width is cut off, evenly at both sides"
    )
    assert cut_off((300, 100), (48, 48)) == "66.7% of its width"
    assert resized_in_words((300, 100), (48, 48), "stretch") == "stretched to 3 times its height"
    assert resized_in_words((100, 300), (48, 48), "stretch") == "stretched to 3 times its width"
    assert (
        resized_in_words((300, 100), (48, 48), "pad")
        == "66.7% is added above and below, filled from its edges"
    )
    assert resized_in_words((1, 2), (48, 48), "pad") == "50.0% is added left and right, filled from its edges"
    assert {resized_in_words((96, 64), (48, 32), each) for each in RESIZES} == {""}


def test_names_are_ours_or_automatic1111s() -> None:
    assert choices.RESIZES == RESIZES
    theirs = ("Crop and resize", "Just resize", "Resize and fill")
    assert [find_resize(name) for name in theirs] == ["fill", "stretch", "pad"]
    assert Request("a", resize="Just resize").resize == "stretch"
    with pytest.raises(
        RequestError, match="resize 'melt': there is no such way; use fill, fit, stretch, pad"
    ):
        Request("a", resize="melt")


@pytest.mark.parametrize("resize", RESIZES)
def test_a_start_and_its_hint_come_to_the_size_alike(pipeline: Pipeline, resize: str) -> None:
    request = Request("a", seeds=(1,), init=WIDE, width=64, height=64, resize=resize)
    size = pipeline.size(request)
    assert size == ((64, 32) if resize == "fit" else (64, 64))
    plan = pipeline.plan(request)
    assert plan.start == fitted(WIDE, size, resize)
    assert pipeline.facts(plan, 1).resize == resize
    hinted = replace(request, controls=(Control("pose", WIDE, ready=True),))
    assert pipeline.plan(hinted).hints == (plan.start,)


def test_a_picture_of_which_a_part_is_drawn_anew_comes_to_a_size_likewise(pipeline: Pipeline) -> None:
    mask = Image.new("L", WIDE.size, 0)
    request = Request("a", seeds=(1,), init=WIDE, mask=mask, width=64, height=64, resize="pad")
    canvas = pipeline.plan(request).canvas
    assert canvas is not None and canvas.picture == fitted(WIDE, (64, 64), "pad")
    assert canvas.change.getbbox() == (0, 0, 64, 64)  # what is added above and below is drawn
    assert canvas.change.crop((0, 20, 64, 40)).getextrema() == (0, 0)
    fit = pipeline.plan(replace(request, resize="fit")).canvas
    assert fit is not None and fit.picture.size == (64, 32)


def test_the_command_tells_and_records_it(tiny: Path, tmp_path: Path) -> None:
    WIDE.save(tmp_path / "wide.png")
    result = CliRunner().invoke(
        main,
        ["generate", "a raven", "--model", str(tiny), "--device", "cpu", "--steps", "2", "--init",
         str(tmp_path / "wide.png"), "--width", "64", "--height", "64", "--resize", "fit",
         "--out", str(tmp_path / "drawn.png")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "wide.png: drawn at 64 x 32; stretched to 1.2 times its height" in result.output, result.output
    facts = read_facts(tmp_path / "drawn.png")
    assert (facts.width, facts.height, facts.resize) == (64, 32, "fit")
