"""A part of a picture is drawn anew, or it is continued: all else comes back as it was."""

from collections import deque
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk import Control, Enlarge, Extend, Pipeline, Region, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.cli.options import choices
from inkpunk.pictures.canvas import CONTENTS, CanvasError, laid_out
from inkpunk.pictures.filling import filled
from inkpunk.road.regions import areas_of
from inkpunk.road.trace import trace
from inkpunk.training.errors import TrainingError
from inkpunk.training.lora import Course
from inkpunk_sampling import SAMPLERS
from inkpunk_weights import open_checkpoint, save_checkpoint
from PIL import Image

SIZE = (64, 64)


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture that no VAE gives back."""
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


def half(size: tuple[int, int] = SIZE, level: int = 255) -> Image.Image:
    """A mask whose right half is drawn anew."""
    mask = Image.new("L", size, 0)
    mask.paste(level, (size[0] // 2, 0, *size))
    return mask


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """By how much each pixel differs, at most."""
    return np.abs(np.asarray(before, int) - np.asarray(after.convert("RGB"), int)).max(-1)


@st.composite
def masks(draw: st.DrawFn, size: tuple[int, int]) -> Image.Image:
    """Blots, rectangles, ramps, dust, and nothing at all."""
    seed, kind = draw(st.integers(0, 2**16)), draw(st.sampled_from(["black", "box", "dust", "ramp", "white"]))
    random = np.random.default_rng(seed)
    levels = np.zeros(size[::-1], np.uint8)
    if kind == "box":
        (left, right), (top, bottom) = (sorted(random.integers(0, side + 1, 2)) for side in size)
        levels[top:bottom, left:right] = random.integers(1, 256)
    elif kind == "dust":
        levels[random.random(levels.shape) < 0.1] = 255
    elif kind == "ramp":
        levels[:] = np.linspace(0, 255, size[0])
    elif kind == "white":
        levels[:] = 255
    return Image.fromarray(levels)


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_changes_where_the_mask_is_black(pipeline: Pipeline, data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(9, 90), st.integers(9, 90)), label="size")
    mask = data.draw(masks(size), label="mask")
    extend = Extend(*data.draw(st.lists(st.sampled_from([0, 0, 5, 16]), min_size=4, max_size=4)))
    picture = noise(size)
    request = Request(
        "a raven",
        seeds=(3,),
        steps=3,
        init=picture,
        mask=mask,
        extend=extend,
        sampler=data.draw(st.sampled_from([*SAMPLERS])),
        strength=data.draw(st.sampled_from([0.7, 1.0])),
        masked_content=data.draw(st.sampled_from(CONTENTS)),
        only_masked=data.draw(st.sampled_from([None, 0, 7])),
    )
    [drawn] = pipeline.generate(request)
    assert drawn.image.size == (size[0] + extend.left + extend.right, size[1] + extend.top + extend.bottom)
    old = drawn.image.crop((extend.left, extend.top, extend.left + size[0], extend.top + size[1]))
    assert not changed(picture, old)[np.asarray(mask) == 0].any()


def test_a_mask_does_change_what_it_shows(pipeline: Pipeline) -> None:
    picture = noise(SIZE)
    for content in CONTENTS:
        request = Request("a", seeds=(3,), init=picture, mask=half(), masked_content=content)
        [drawn] = pipeline.generate(request)
        assert (changed(picture, drawn.image)[:, 32:] > 0).mean() > 0.9


def test_a_black_mask_takes_no_step_and_changes_nothing(pipeline: Pipeline) -> None:
    picture = noise((70, 50))
    request = Request("a raven", seeds=(3, 4), init=picture, mask=Image.new("L", SIZE, 0))
    [step] = pipeline.run(request)
    for drawn in pipeline.pictures(request, step.latents):
        assert drawn.image == picture


@pytest.mark.parametrize("like", ["a1111", "comfyui"])
def test_a_white_mask_draws_what_that_noise_draws_without_a_picture(pipeline: Pipeline, like: str) -> None:
    """With a mask, inkpunk's and diffusers' first noise encodes the picture; here it is the same."""
    white = Request(
        "a raven", seeds=(3,), like=like, init=noise(SIZE), mask=Image.new("L", SIZE, 255), strength=1
    )
    [drawn], [plain] = pipeline.generate(white), pipeline.generate(Request("a raven", seeds=(3,), like=like))
    assert drawn.image == plain.image


@pytest.mark.parametrize(("level", "steps"), [(64, 1), (128, 2), (192, 3), (255, 4)])
def test_a_grey_mask_frees_the_last_of_the_steps(pipeline: Pipeline, level: int, steps: int) -> None:
    def found(level: int) -> list[torch.Tensor]:
        request = Request("a", seeds=(3,), steps=4, strength=1, init=noise(SIZE), mask=half(level=level))
        return [step.denoised[..., 4:] for step in pipeline.run(request)]

    held = [
        torch.allclose(known, seen, atol=1e-5) for known, seen in zip(found(1), found(level), strict=True)
    ]
    assert held == [True] * (4 - steps) + [False] * steps


def test_only_masked_sees_the_part_at_the_models_own_size(pipeline: Pipeline) -> None:
    picture, mask = noise((300, 200)), Image.new("L", (300, 200), 0)
    mask.paste(255, (100, 80, 116, 96))
    plan = pipeline.plan(Request("a", init=picture, mask=mask, only_masked=8))
    assert plan.canvas is not None
    assert plan.canvas.box == (92, 72, 124, 104) and (plan.width, plan.height) == SIZE


def test_a_control_beside_a_canvas_is_seen_where_it_lies_upon_it(pipeline: Pipeline) -> None:
    picture, mask = noise((300, 200)), Image.new("L", (300, 200), 0)
    mask.paste(255, (100, 80, 116, 96))
    control = Control("lines", picture, ready=True)
    plan = pipeline.plan(Request("a", init=picture, mask=mask, only_masked=8, controls=[control]))
    assert plan.canvas is not None
    [hint] = plan.hints
    assert hint == plan.canvas.shown


@given(
    st.tuples(st.integers(8, 400), st.integers(8, 400)),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.none() | st.integers(0, 64),
)
@settings(deadline=None)
def test_a_canvas_shows_all_that_changes(
    size: tuple[int, int], corners: list[float], padding: int | None
) -> None:
    xs, ys = sorted(corners[:2]), sorted(corners[2:])
    right, bottom = size[0] - 1, size[1] - 1
    found = (int(xs[0] * right), int(ys[0] * bottom), int(xs[1] * right) + 1, int(ys[1] * bottom) + 1)
    mask = Image.new("L", size, 0)
    mask.paste(255, found)
    canvas = laid_out(Image.new("RGB", size), mask, 256, padding=padding)
    left, top, right, bottom = canvas.box
    shown = mask.getbbox()
    assert shown is not None
    assert left <= shown[0] and top <= shown[1] and right >= shown[2] and bottom >= shown[3]
    assert canvas.size[0] % 8 == canvas.size[1] % 8 == 0
    stretched = (right - left) / (bottom - top) / (canvas.size[0] / canvas.size[1])
    assert 0.9 < stretched < 1.1 or max(canvas.size) > 4 * min(canvas.size), "or it is a strip"
    assert canvas.pasted(Image.new("RGB", canvas.size, "red")).size == size


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
def test_what_is_not_known_is_filled_from_what_is(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    known = (random.random((height, width)) < random.random()).astype(np.float32)
    result = filled(levels, known)
    assert np.array_equal(result[known == 1], levels[known == 1])
    if known.any():
        inside = levels[known == 1]
        assert (result >= inside.min(0)).all() and (result <= inside.max(0)).all(), "nothing is invented"
    else:
        assert (result == 128).all()


def test_the_edge_of_a_continued_picture_begins_as_its_surroundings(pipeline: Pipeline) -> None:
    """Of a smooth picture, what is new begins smooth: no jump at the edge beyond those inside."""
    ramp = np.repeat(np.linspace(40, 200, 64, dtype=np.uint8)[None], 64, 0)
    picture = Image.fromarray(np.stack([ramp] * 3, -1))
    plan = pipeline.plan(Request("a", init=picture, extend="left=16"))
    assert plan.canvas is not None
    levels = np.asarray(plan.canvas.picture, int)[..., 0]
    assert np.array_equal(levels[:, 16:], np.asarray(picture)[..., 0])
    assert np.abs(np.diff(levels, axis=1)).max() <= 8
    change = np.asarray(plan.canvas.change, int)
    assert (np.diff(change[:, :17], axis=1) <= 0).all() and change[0, 15] < 32 < change[0, 0]


@pytest.mark.parametrize(
    "text", ["", "left", "left=-4", "up=3", "left=3,left=4", "left=3;top=2", "left=999999"]
)
def test_what_says_no_edges_is_refused(text: str) -> None:
    with pytest.raises(CanvasError, match="left=128,bottom=64"):
        Extend.read(text)


def test_edges_are_read_as_they_are_told() -> None:
    assert Extend.read(" left=128, bottom=64") == Extend(left=128, bottom=64)
    assert Extend.read("all=8,top=16") == Extend(8, 16, 8, 8)
    assert Extend.read(str(Extend(left=128, bottom=64))) == Extend(left=128, bottom=64)


@pytest.mark.parametrize("extend", ["all=99999", "left=99999,right=99999,bottom=9999", Extend(left=10**300)])
def test_a_picture_continued_beyond_what_can_be_held_is_refused_at_once(extend: object) -> None:
    with pytest.raises(RequestError, match=r"^extend .*: too large, .* at most 64,000,000 are read"):
        Request("a", init=Image.new("RGB", (64, 64)), extend=extend)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"mask": half()}, "give init"),
        ({"extend": "left=8"}, "give init"),
        ({"init": noise(SIZE), "mask": "alpha"}, "no transparent part"),
        ({"init": noise(SIZE), "mask": 3}, "must be a picture"),
        ({"init": noise(SIZE), "mask": half(), "masked_content": "fill"}, "use original, blurred"),
        ({"init": noise(SIZE), "masked_content": "noise"}, "without a mask"),
        ({"init": noise(SIZE), "only_masked": 8}, "without a mask"),
        ({"init": noise(SIZE), "mask": half(), "only_masked": -1}, "must be 0 to"),
        ({"init": noise(SIZE), "mask": half(), "enlarge": 2}, "one after the other"),
        ({"init": noise(SIZE), "mask": half(), "tileable": "x"}, "has edges"),
        ({"regions": ["a fox"]}, "PROMPT@MASK"),
        ({"regions": [3]}, "not int"),
        ({"regions": [Region("a fox", Image.new("L", SIZE, 0))]}, "counts nowhere"),
        ({"regions": [Region("a fox <lora:x:1>", half())]}, "acts on the whole picture"),
        ({"regions": [Region("a {fox", half())], "wildcards": {}}, ""),
    ],
)
def test_what_cannot_be_is_refused_in_words(settings: dict[str, Any], why: str) -> None:
    if not why:
        assert Request("a raven", **settings).regions_of(0) == ("a {fox",)
        return
    with pytest.raises(RequestError, match=why):
        Request("a raven", **settings)


# -- Regions -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**16), max_size=4))
def test_prompts_share_every_cell_between_them(seeds: list[int]) -> None:
    masks = [noise((40, 24), seed).convert("L") for seed in seeds]
    areas = areas_of([Region("a", mask) for mask in masks], (5, 3))
    assert areas.shape == (len(seeds) + 1, 3, 5) and (areas >= -1e-6).all()
    assert torch.allclose(areas.sum(0), torch.ones(3, 5))


def test_a_region_of_all_is_as_its_prompt_alone(pipeline: Pipeline) -> None:
    white = Region("a fox", Image.new("L", SIZE, 255))
    [placed] = pipeline.generate(Request("a raven", seeds=(3,), regions=[white]))
    [alone] = pipeline.generate(Request("a fox", seeds=(3,)))
    assert changed(alone.image, placed.image).max() <= 1, "sums in another order"


def test_a_region_acts_most_where_it_is(pipeline: Pipeline) -> None:
    settings = {"seeds": (3,), "steps": 1, "sampler": "ddim"}
    plain, placed = (
        deque(pipeline.run(Request("a raven", regions=regions, **settings)), 1).pop().latents
        for regions in ([], [Region("a fox", half())])
    )
    difference = (placed - plain).abs().mean((0, 1))
    assert difference[:, :4].max() < 1e-6 and difference[:, 4:].min() > 1e-5


# -- Models that see masks -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeing(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The tiny model with nine channels."""
    whole = open_checkpoint(tiny)
    torch.manual_seed(5)
    more = torch.randn(whole.unet["conv_in.weight"].shape[0], 5, 3, 3)
    unet = dict(whole.unet) | {"conv_in.weight": torch.cat([whole.unet["conv_in.weight"], more], 1)}
    metadata = {key: str(value) for key, value in whole.metadata.items()}
    path = tmp_path_factory.mktemp("seeing") / "inpainting.safetensors"
    save_checkpoint(path, text_encoder=whole.text_encoder, unet=unet, vae=whole.vae, metadata=metadata)
    return Pipeline.load(path, device="cpu")


def test_a_model_that_sees_masks_draws_without_one_too(seeing: Pipeline) -> None:
    plain = Request("a raven", seeds=(3, 4))
    together = seeing.generate(plain)
    assert together[0].image != together[1].image
    [alone] = seeing.generate(Request("a raven", seeds=(4,)))
    assert changed(alone.image, together[1].image).max() <= 1, "a batch rounds otherwise"
    [begun] = seeing.generate(Request("a raven", seeds=(3,), init=noise(SIZE), strength=0.5))
    assert begun.image != together[0].image


def test_its_stages_are_traced(seeing: Pipeline) -> None:
    *_, last = trace(seeing, Request("a raven", seeds=(3,)))
    [drawn] = seeing.generate(Request("a raven", seeds=(3,)))
    assert last.picture is not None and last.picture.image == drawn.image


def test_no_lora_is_trained_on_it(seeing: Pipeline) -> None:
    with pytest.raises(TrainingError, match="sees masks"):
        next(Course(()).encode(seeing))


def test_it_draws_otherwise_around_another_picture(seeing: Pipeline) -> None:
    drawn = [
        seeing.generate(Request("a", seeds=(3,), init=noise(SIZE, seed), mask=half(), strength=1))[0].image
        for seed in (0, 1)
    ]
    assert changed(*drawn)[:, 40:].max() > 8, "it is told of what is left"


# -- Together with others ------------------------------------------------------------------------------------------


FEATURES: dict[str, dict[str, Any]] = {
    "mask": {"init": noise(SIZE), "mask": half()},
    "soft mask": {"init": noise(SIZE), "mask": half(level=120), "strength": 1},
    "extend": {"init": noise(SIZE), "extend": "left=16"},
    "only masked": {"init": noise(SIZE), "mask": half(), "only_masked": 4},
    "control": {"controls": ["canny:{start}"]},
    "region": {"regions": [Region("a fox", half())]},
    "variation": {"vary": "8:0.3"},
    "tiles": {"tile_size": 64},
    "guidance": {"guidance_rescale": 0.7, "guidance_interval": (0.3, 9.0)},
    "conjunction": {"prompt": "a raven AND a fox:0.5"},
    "blend": {"blend": "a fox:0.3"},
    "enlarging": {"enlarge": Enlarge(1.25, strength=0.6)},
    "texture": {"tileable": "x"},
    "colours": {"init": noise(SIZE), "match_colours": True},
}
APART = {  # which are refused together, in words
    frozenset(pair)
    for pair in [
        *(
            (one, other)
            for one in ("mask", "soft mask", "extend", "only masked")
            for other in ("enlarging", "texture")
        ),
        ("tiles", "texture"),
        ("conjunction", "blend"),
        ("region", "blend"),
    ]
}


@pytest.fixture(scope="module")
def controlled(tiny: Path, seeing: Pipeline, control_net: Path) -> dict[str, Pipeline]:
    """Either model with a ControlNet."""
    assert seeing.path is not None
    return {
        name: Pipeline.load(path, device="cpu", control_nets={"canny": control_net})
        for name, path in (("plain", tiny), ("seeing", seeing.path))
    }


PAIRS = [*combinations(FEATURES, 2)]
# The model that sees masks differs in what its UNet is given, which these change; the rest is one code for both.
MEETINGS = [("plain", pair) for pair in PAIRS] + [
    ("seeing", pair) for pair in PAIRS if {"mask", "tiles"} & {*pair} and frozenset(pair) not in APART
]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("model", "pair"),
    MEETINGS,
    ids=[f"{model}-{'+'.join(pair)}" for model, pair in MEETINGS],
)
def test_any_two_features_meet(
    controlled: dict[str, Pipeline],
    model: str,
    pair: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    start = tmp_path_factory.mktemp("pair") / "start.png"
    half().save(start)
    told = {"prompt": "a raven", "seeds": (3,), "steps": 2} | FEATURES[pair[0]] | FEATURES[pair[1]]
    if "controls" in told:
        told["controls"] = [each.format(start=start) for each in told["controls"]]
    if frozenset(pair) in APART:
        with pytest.raises(RequestError):
            controlled[model].plan(Request(**told))
        return
    request = Request(**told)
    [drawn] = controlled[model].generate(request)
    assert np.asarray(drawn.image).std() > 1
    if request.mask is not None and not request.extend:
        assert not changed(noise(SIZE), drawn.image)[:, :32].any()


# -- The command ---------------------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["edit", *map(str, arguments)])


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    noise((60, 44)).save(tmp_path / "photo.png")
    half((60, 44)).save(tmp_path / "mask.png")
    half((60, 44), 0).save(tmp_path / "black.png")
    erased = noise((60, 44))
    erased.putalpha(half((60, 44)).point(lambda level: 255 - level))
    erased.save(tmp_path / "erased.png")
    return tmp_path


def test_edit_saves_the_whole_with_its_recipe(tiny: Path, folder: Path) -> None:
    out = folder / "out.png"
    settings = ("--masked-content", "noise", "--only-masked", "--steps", 2, "--model", tiny)
    result = run(
        folder / "photo.png", "a fox", "--mask", folder / "mask.png", *settings, "--model", tiny, "--out", out
    )
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert not changed(noise((60, 44)), image)[:, :30].any()
        text = image.info["parameters"]
    facts = read_facts(out)
    assert (facts.masked_content, facts.only_masked, facts.prompt) == ("noise", 32, "a fox")
    assert facts.mask_hash and facts.paths["mask"] == str(folder / "mask.png")
    assert "Masked content: latent noise" in text and "Masked area padding: 32" in text


def test_edit_takes_what_is_transparent_for_a_mask(tiny: Path, folder: Path) -> None:
    out = folder / "out.webp"
    result = run(
        folder / "erased.png", "a fox", "--model", tiny, "--out", out, "--quality", 100, "--keep-alpha"
    )
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert image.mode == "RGBA"
        assert not changed(noise((60, 44)), image)[:, :30].any()


def test_edit_extends(tiny: Path, folder: Path) -> None:
    out = folder / "out.png"
    result = run(folder / "photo.png", "a fox", "--extend", "left=20,bottom=4", "--model", tiny, "--out", out)
    assert result.exit_code == 0, result.output
    with Image.open(out) as image:
        assert image.size == (80, 48)
    assert read_facts(out).extend == "left=20,bottom=4"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photo.png", "a"], "no transparent part"),
        (["photo.png", "a", "--mask", "{none}.png"], "no such file"),
        (["none.png", "a", "--extend", "all=8"], "no such file"),
        (["photo.png", "a", "--extend", "8"], "left=128,bottom=64"),
        (["photo.png", "a", "--mask", "{mask}", "--init", "x"], "No such option"),
    ],
)
def test_edit_refuses_in_one_line(tiny: Path, folder: Path, arguments: list[str], says: str) -> None:
    told = [each.format(mask=folder / "mask.png", none=folder / "none") for each in arguments[1:]]
    result = run(folder / arguments[0], *told, "--model", tiny, "--out", folder / "out.png")
    assert result.exit_code != 0 and says in result.output
    assert not (folder / "out.png").exists()


def test_edit_says_that_a_black_mask_changes_nothing(tiny: Path, folder: Path) -> None:
    told = ("--mask", folder / "black.png", "--model", tiny, "--out", folder / "out.png")
    result = run(folder / "photo.png", "a", *told)
    assert "The mask is black: nothing is drawn anew" in result.output
    with Image.open(folder / "out.png") as image:
        assert not changed(noise((60, 44)), image).any()


def test_the_command_line_has_every_content() -> None:
    assert choices.CONTENTS == CONTENTS
