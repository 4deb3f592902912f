"""Textures tile: fast networks made circular equal plain ones with torch's circular padding, and no seam is found."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Control, Pipeline, Request, RequestError
from inkpunk.cli.options.choices import TILEABLE
from inkpunk.pictures.png_text import infotext
from inkpunk.road.tileable import AXES, Circular, make_circular, with_margins
from inkpunk.speed import Speed, speed_up
from inkpunk_clip import TextEncoder
from inkpunk_unet import T2IAdapter, T2IAdapterConfig, UNet
from inkpunk_vae import VAE, tiled_decode, tiled_encode
from inkpunk_vae.layers import Downsample
from inkpunk_winograd import changes, explain
from PIL import Image
from torch import Tensor, nn

CPU = torch.device("cpu")
ROUNDING = 3e-5  # float32, relative to the largest value, through some dozens of layers that feed each other
Networks = tuple[TextEncoder, UNet, VAE]
MODES = {True: "circular", False: "constant"}


def make(networks: Callable[[], Networks]) -> tuple[UNet, VAE]:
    torch.manual_seed(0)
    _, unet, vae = networks()
    for network in (unet, vae):
        network.eval().requires_grad_(False)
    return unet, vae


def with_torchs_padding(network: nn.Module, axes: str) -> None:
    """torch's own circular padding on these axes, and its zeros on the others."""

    def padded(sides: tuple[int, int, int, int], image: Tensor) -> Tensor:
        across = F.pad(image, (*sides[:2], 0, 0), mode=MODES["x" in axes])
        return F.pad(across, (0, 0, *sides[2:]), mode=MODES["y" in axes])

    for layer in network.modules():
        if isinstance(layer, Downsample):
            layer.forward = lambda image, conv=layer.conv: conv(padded((0, 1, 0, 1), image))
        elif isinstance(layer, nn.Conv2d) and layer.padding == (1, 1):
            if axes == "xy":
                layer.padding_mode = "circular"
            else:
                layer.padding = (0, 0)
                layer.register_forward_pre_hook(lambda layer, inputs: padded((1, 1, 1, 1), inputs[0]))


@torch.no_grad()
def results(unet: UNet, vae: VAE, sides: tuple[int, int] = (24, 20)) -> list[Tensor]:
    """What each network makes of the same inputs; the UNet twice, and once with guidance's equal halves."""
    torch.manual_seed(1)
    context, timesteps = torch.randn(2, 77, 32), torch.tensor([500, 500])
    latents = torch.randn(2, 4, *sides)
    image = torch.randn(1, 3, 8 * sides[0], 8 * sides[1])
    guided = latents[:1].repeat(2, 1, 1, 1)
    steps = [unet(each, timesteps, context) for each in (latents, latents, guided)]
    return [*steps, vae.decode(latents[:1]), vae.encode(image).mean]


def difference(found: Tensor, wanted: Tensor) -> float:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("axes", "left_out"),
    [
        *((axes, ()) for axes in AXES),
        *((axes, ("winograd",)) for axes in ("x", "xy")),
        *((axes, ("channels_last", "in_place")) for axes in ("y", "xy")),
    ],
)
def test_fast_networks_made_circular_are_plain_ones_with_torchs_circular_padding(
    networks: Callable[[], Networks], axes: str, left_out: tuple[str, ...]
) -> None:
    speed = Speed(**dict.fromkeys(left_out, False))
    fast, plain = make(networks), make(networks)
    speed_up(*fast, device=CPU, speed=speed)
    for network in fast:
        make_circular(network, axes)
    for network in plain:
        with_torchs_padding(network, axes)
    # an odd number of rows, too, which is halved rounding up
    for sides in ((24, 20), (7, 12)):
        for found, wanted in zip(results(*fast, sides), results(*plain, sides), strict=True):
            assert difference(found, wanted) < ROUNDING
    asked = torch.zeros(1, 4, 24, 20), torch.tensor([500]), torch.zeros(1, 77, 32)
    ways = " ".join(layer.why for layer in explain(fast[0], *asked).layers if layer.changed)
    assert ("F(4x4, 3x3)" in ways) == speed.winograd  # which was taken, and not the direct way alone


def test_without_circular_padding_they_differ_by_far_more_than_rounding(
    networks: Callable[[], Networks],
) -> None:
    one, other = make(networks), make(networks)
    for network in other:
        with_torchs_padding(network, "xy")
    assert min(map(difference, results(*one), results(*other))) > 100 * ROUNDING


def test_circular_padding_is_taken_off_without_a_trace(networks: Callable[[], Networks]) -> None:
    fast = make(networks)
    speed_up(*fast, device=CPU, speed=Speed())
    before, around = results(*fast), [changes(each) for network in fast for each in network.modules()]
    undos = [make_circular(network, "xy") for network in fast]
    assert difference(results(*fast)[0], before[0]) > ROUNDING
    for undo in undos:
        undo()
        undo()  # again it does nothing
    assert all(map(torch.equal, results(*fast), before))
    assert [changes(each) for network in fast for each in network.modules()] == around


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from(AXES))
def test_a_rolled_input_is_a_rolled_prediction(
    networks: Callable[[], Networks], down: int, across: int, axes: str
) -> None:
    """By what the network can halve: two latents, for this one of two levels."""
    unet, vae = make(networks)
    speed_up(unet, vae, device=CPU, speed=Speed())
    make_circular(unet, axes)
    make_circular(vae, axes)
    torch.manual_seed(2)
    latents, context = torch.randn(1, 4, 12, 10), torch.randn(1, 77, 32)
    shift = 2 * down if "y" in axes else 0, 2 * across if "x" in axes else 0
    rolled = latents.roll(shift, (2, 3))
    with torch.no_grad():
        wanted, found = (unet(each, torch.tensor([300]), context) for each in (latents, rolled))
        assert difference(found, wanted.roll(shift, (2, 3))) < ROUNDING
        wanted, found = vae.decode(latents), vae.decode(rolled)
        assert difference(found, wanted.roll([8 * side for side in shift], (2, 3))) < ROUNDING


@pytest.mark.parametrize("light", [True, False])
def test_a_t2i_adapters_hint_wraps_around(light: bool) -> None:
    torch.manual_seed(0)
    adapter = T2IAdapter(T2IAdapterConfig(widths=(8, 16), layers=1, light=light)).eval()
    speed_up(adapter, device=CPU, speed=Speed())
    make_circular(adapter, "xy")
    hint = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        told, rolled = (adapter(each).levels for each in (hint, hint.roll((16, 32), (2, 3))))
    for level, (one, other) in enumerate(zip(told, rolled, strict=True)):
        shift = 16 // 8 // 2**level, 32 // 8 // 2**level
        assert difference(other, one.roll(shift, (2, 3))) < ROUNDING


@pytest.mark.parametrize("axes", AXES)
def test_strips_of_a_circular_vae_are_the_whole(networks: Callable[[], Networks], axes: str) -> None:
    _, vae = make(networks)
    speed_up(vae, device=CPU, speed=Speed())
    make_circular(vae, axes)
    latents, images = torch.randn(1, 4, 13, 5), torch.randn(1, 3, 72, 40)
    with torch.no_grad():
        decoded, encoded = vae.decode(latents), vae.encode(images).mean
    for rows in (1, 20, 1000):
        circular = "y" in axes
        assert difference(tiled_decode(vae, latents, rows, circular=circular), decoded) < ROUNDING
        assert difference(tiled_encode(vae, images, rows, circular=circular).mean, encoded) < ROUNDING


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_margins_are_what_lies_round_the_torus(
    height: int, width: int, down: int, across: int, last: bool
) -> None:
    image = torch.arange(2.0 * 3 * height * width).view(2, 3, height, width)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    rows, columns = torch.arange(-down, height + down) % height, torch.arange(-across, width + across) % width
    assert torch.equal(with_margins(image, down, across), image[:, :, rows][..., columns])


@pytest.mark.parametrize(
    ("layer", "margin"),
    [
        (nn.Conv2d(2, 2, 3, padding=1), 1),
        (nn.Conv2d(2, 2, 3, padding=1, stride=2), 2),
        (nn.Conv2d(2, 2, 5, padding=2), 2),
        (Downsample(2), 2),
        (nn.Conv2d(2, 2, 1), None),
        (nn.Conv2d(2, 2, 3), None),
        (nn.Linear(2, 2), None),
    ],
)
def test_a_margin_is_as_wide_as_a_layer_reads_and_whole_in_its_result(
    layer: nn.Module, margin: int | None
) -> None:
    change = Circular.of(layer, "xy")
    assert (change and change.margin) == margin


def is_seamless(image: Image.Image, axis: int) -> bool:
    """Whether the step from edge to edge is no larger than the steps between a picture's neighbouring lines are."""
    pixels = np.asarray(image, dtype=float)
    steps = np.abs(np.diff(pixels, axis=axis, append=pixels.take([0], axis=axis)))
    means = steps.mean(axis=(1 - axis, 2))  # in levels of 255, of each line
    return bool(means[-1] <= means[:-1].max())


NIGHT = Request("a night sky with stars", seeds=(7,), steps=8)  # drawn plainly, its edges do not meet


@pytest.mark.parametrize("axes", [None, *AXES])
def test_a_texture_has_no_seam_on_the_axes_it_tiles_on(sketch: Pipeline, axes: str | None) -> None:
    image = sketch.generate(replace(NIGHT, tileable=axes))[0].image
    seamless = {name for name, axis in (("x", 1), ("y", 0)) if is_seamless(image, axis)}
    assert seamless >= {*axes} if axes else not seamless


REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), width=64, height=48)


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    return [*pipeline.run(request)][-1].latents


def drawn(pipeline: Pipeline, request: Request) -> bytes:
    return pipeline.generate(request)[0].image.tobytes()


def test_after_a_texture_the_pipeline_draws_as_before(pipeline: Pipeline) -> None:
    before, texture = drawn(pipeline, REQUEST), replace(REQUEST, tileable="xy")
    first = drawn(pipeline, texture)
    assert first != before
    assert drawn(pipeline, REQUEST) == before
    assert len({first, drawn(pipeline, replace(REQUEST, tileable="x")), drawn(pipeline, texture)}) == 2
    assert [*pipeline.tileable] == ["xy"]  # the last alone is kept


def test_threads_may_draw_pictures_and_textures_with_one_pipeline(pipeline: Pipeline) -> None:
    requests = [replace(REQUEST, tileable=axes) for axes in (None, *AXES)]
    alone = [drawn(pipeline, request) for request in requests]
    with ThreadPoolExecutor() as threads:
        assert [*threads.map(partial(drawn, pipeline), requests)] == alone


@pytest.mark.parametrize("setting", ["offload", "tiled", "low_memory"])
def test_a_texture_is_the_same_wherever_and_however_it_is_drawn(
    setting: str, tiny: Path, pipeline: Pipeline
) -> None:
    """Decoded in strips of 64 rows, of which it has two; and weights of 16 bits lose digits."""
    texture = replace(
        REQUEST, tileable="xy", height=128, init=Image.effect_noise((64, 128), 60), strength=0.7
    )
    one, other = (
        np.asarray(each.generate(texture)[0].image, dtype=int)
        for each in (pipeline, Pipeline.load(tiny, device="cpu", **{setting: True}))
    )
    assert np.abs(one - other).max() <= (8 if setting == "low_memory" else 1)


def test_a_picture_to_start_from_is_encoded_as_a_texture(pipeline: Pipeline) -> None:
    """One that is rolled becomes latents that are rolled, and rolled noise then draws the rolled picture."""
    texture = replace(REQUEST, tileable="xy", init=Image.effect_noise((64, 48), 60).convert("RGB"))
    start = pipeline.road(pipeline.plan(texture)).start()
    assert start.latents is not None
    picture = texture.picture
    assert picture is not None
    rolled = Image.fromarray(np.roll(np.asarray(picture), (16, 32), (0, 1)))
    other = pipeline.road(pipeline.plan(replace(texture, init=rolled))).start()
    assert other.latents is not None
    draw = next(pipeline.noise(pipeline.plan(texture)))
    encode = pipeline.for_textures("xy").encode
    for image, latents_of_it in ((picture, start.latents), (rolled, other.latents)):
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        assert difference(encode(pixels, draw), latents_of_it) < ROUNDING


def test_a_texture_follows_hints_and_adapters(tiny: Path, control_net: Path) -> None:
    """A hint that is rolled makes, of rolled noise, a rolled prediction."""
    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"pose": control_net})
    hint = Image.effect_noise((64, 48), 90).convert("RGB")
    rolled = Image.fromarray(np.roll(np.asarray(hint), (16, 32), (0, 1)))
    told = list[Tensor]()
    for picture in (hint, rolled):
        request = replace(REQUEST, tileable="xy", controls=[Control("pose", picture, ready=True)])
        here = pipeline.for_textures("xy")
        plan = here.plan(request)
        with here.networks(plan)[0].network.awake():
            road = here.road(plan)
            noise = next(road.start().noise)
            shift = (2, 4) if picture is rolled else (0, 0)
            told.append(road.denoise(road.predict)(noise.roll(shift, (2, 3)), 500.0))
    assert difference(told[1], told[0].roll((2, 4), (2, 3))) < ROUNDING
    assert pipeline.networks(pipeline.plan(request))[0].network is not here.networks(plan)[0].network


def test_the_recipe_tells_it_as_automatic1111_does(pipeline: Pipeline) -> None:
    told = {
        axes: infotext(pipeline.facts(pipeline.plan(replace(REQUEST, tileable=axes)), 3))
        for axes in (None, *AXES)
    }
    assert "Tiling: True" in told["xy"]
    assert "Tileable: x" in told["x"]
    assert "Til" not in told[None]


def test_axes_are_refused_that_there_are_not() -> None:
    assert TILEABLE == AXES
    for axes in ("z", "yx", ""):
        with pytest.raises(RequestError, match=r"^tileable .* must be one of x, y, xy"):
            Request("a", tileable=axes)
