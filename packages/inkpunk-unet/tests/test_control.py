"""A ControlNet tells a UNet what a hint shows: nothing before it is trained, then what fits, image by image."""

import functools
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import ControlNet, ControlNetConfig, Residuals, UNet, UNetConfig, guess_weights
from torch import Tensor

CONFIG = ControlNetConfig(
    UNetConfig(
        widths=(16, 32, 48), attention=(True, False, True), layers=1, heads=4, context_width=24, groups=8
    ),
    hint_widths=(4, 6, 8, 12),
)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A UNet's numbers and a ControlNet's, not yet configs, as those draw from `random`."""
    levels = draw(st.integers(1, 4))
    unet = {
        "in_channels": draw(st.sampled_from([4, 9])),
        "widths": tuple(draw(st.lists(st.sampled_from([16, 32]), min_size=levels, max_size=levels))),
        "layers": draw(st.integers(1, 2)),
        "attention": tuple(draw(st.lists(st.booleans(), min_size=levels, max_size=levels))),
        "heads": draw(st.sampled_from([1, 2, 8])),
        "context_width": draw(st.integers(1, 20)),
        "groups": draw(st.sampled_from([2, 8])),
    }
    hint_widths = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    return unet, {"hint_channels": draw(st.sampled_from([1, 3])), "hint_widths": hint_widths}


sizes = st.integers(1, 11)


def build(config: ControlNetConfig = CONFIG, dtype: torch.dtype = torch.float64, seed: int = 0) -> ControlNet:
    """A network in which nothing is left at one or zero, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        control = ControlNet(config).requires_grad_(False)
        for parameter in control.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(0.1 * torch.randn(parameter.shape))
        return control.to(dtype)


@functools.cache
def unet(config: UNetConfig = CONFIG.unet, dtype: torch.dtype = torch.float64) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return UNet(config).requires_grad_(False).to(dtype)


def inputs(
    config: ControlNetConfig = CONFIG,
    batch: int = 2,
    height: int = 9,
    width: int = 5,
    dtype: torch.dtype = torch.float64,
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """What a UNet is asked, and a hint."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    latents = torch.randn(batch, config.unet.in_channels, height, width, generator=generator)
    context = torch.randn(batch, 5, config.unet.context_width, generator=generator)
    size = (config.factor * height, config.factor * width)
    hint = torch.rand(batch, config.hint_channels, *size, generator=generator)
    timesteps = torch.randint(1000, (batch,), generator=generator)
    return (latents.to(dtype), timesteps, context.to(dtype)), hint.to(dtype)


def told(control: ControlNet, asked: tuple[Tensor, Tensor, Tensor], hint: Tensor) -> list[Tensor]:
    """The skips' residuals and the middle's; there are no others."""
    residuals = control(*asked, control.encode_hint(hint))
    assert residuals.levels == ()
    return [entry for entry in (*residuals.skips, residuals.middle) if entry is not None]


def difference(ours: Tensor, reference: Tensor) -> float:
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


# -- shapes and dtypes --


@settings(deadline=None, max_examples=12)
@given(shape=shapes(), batch=st.integers(1, 2), height=sizes, width=sizes, pooled=st.booleans())
def test_what_it_tells_fits_its_unet_at_any_size(
    shape: tuple[dict[str, Any], dict[str, Any]], batch: int, height: int, width: int, pooled: bool
) -> None:
    config = ControlNetConfig(UNetConfig(**shape[0]), **shape[1], pooled=pooled)
    control = build(config, torch.float32)
    asked, hint = inputs(config, batch, height, width, torch.float32)
    residuals = control(*asked, control.encode_hint(hint))
    assert [entry is not None and entry.shape[1] for entry in residuals.skips] == [*config.unet.skip_widths]
    noise = UNet(config.unet).requires_grad_(False)(*asked, residuals)
    assert noise.shape == (batch, 4, height, width)
    assert noise.isfinite().all()


def test_a_hint_of_72_by_40_is_for_latents_of_9_by_5() -> None:
    control = build(ControlNetConfig(CONFIG.unet))
    assert control.encode_hint(torch.zeros(2, 3, 72, 40).double()).shape == (2, 16, 9, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_it_tells_has_the_dtype_of_the_latents(dtype: torch.dtype) -> None:
    asked, hint = inputs(dtype=dtype)
    entries = told(build(dtype=dtype), asked, hint)
    assert {entry.dtype for entry in entries} == {dtype}
    assert all(entry.isfinite().all() for entry in entries)


def test_control_and_unet_run_under_autocast() -> None:
    asked, hint = inputs(dtype=torch.float32)
    control = build(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        residuals = control(*asked, control.encode_hint(hint))
        assert unet(dtype=torch.float32)(*asked, residuals).isfinite().all()


def test_control_for_stable_diffusion_has_its_parameters() -> None:
    with torch.device("meta"):
        control = ControlNet(ControlNetConfig())
    assert sum(parameter.numel() for parameter in control.parameters()) == 361_279_120


def test_all_that_a_control_network_holds_is_parameters() -> None:
    assert list(build().buffers()) == []


# -- numbers --


def test_an_untrained_one_adds_exact_zeros() -> None:
    control = ControlNet(CONFIG).requires_grad_(False).double()
    asked, hint = inputs()
    residuals = control(*asked, control.encode_hint(hint))
    assert not control.encode_hint(hint).any()
    assert all(entry is not None and not entry.any() for entry in (*residuals.skips, residuals.middle))
    assert torch.equal(unet()(*asked, residuals), unet()(*asked))


def test_it_starts_from_a_unets_first_half_whose_names_it_shares() -> None:
    first_half = {
        name: tensor
        for name, tensor in unet().state_dict().items()
        if not name.startswith(("up.", "norm_out.", "conv_out."))
    }
    loaded = ControlNet(CONFIG).load_state_dict(first_half, strict=False)
    assert loaded.unexpected_keys == []
    assert {name.split(".")[0] for name in loaded.missing_keys} == {"hint", "zero_convs", "middle_zero_conv"}


# Of 60 random configs, sizes and weights the worst was 8.6e-7. Groups are large, as for the UNet's bound.
SINGLE = 5e-6


@settings(deadline=None, max_examples=6)
@given(shape=shapes(), height=sizes, width=sizes, seed=st.integers(0, 99))
def test_single_precision_costs_control_little(
    shape: tuple[dict[str, Any], dict[str, Any]], height: int, width: int, seed: int
) -> None:
    config = ControlNetConfig(UNetConfig(**shape[0] | {"groups": 2}), **shape[1])
    exact, single = (
        told(build(config, dtype, seed), *inputs(config, 2, height, width, dtype))
        for dtype in (torch.float64, torch.float32)
    )
    assert max(map(difference, single, exact)) <= SINGLE


# In double precision, so that a leak cannot hide behind rounding, which costs some 1e-15 a layer.
EXACT = 1e-12


@settings(deadline=None, max_examples=4)
@given(shape=shapes(), height=sizes, width=sizes)
def test_what_is_told_of_an_image_does_not_depend_on_its_batch_mates(
    shape: tuple[dict[str, Any], dict[str, Any]], height: int, width: int
) -> None:
    config = ControlNetConfig(UNetConfig(**shape[0]), **shape[1])
    control, (asked, hint) = build(config), inputs(config, 3, height, width)
    together = told(control, asked, hint)
    for image in range(3):
        one = slice(image, image + 1)
        latents, timesteps, context = (each[one] for each in asked)
        alone = told(control, (latents, timesteps, context), hint[one])
        assert all(difference(mine[one], entry) <= EXACT for mine, entry in zip(together, alone, strict=True))


def test_a_pooled_one_tells_each_channels_mean_everywhere() -> None:
    asked, hint = inputs()
    plain = told(build(), asked, hint)
    pooled = told(build(ControlNetConfig(CONFIG.unet, 3, CONFIG.hint_widths, pooled=True)), asked, hint)
    for mean, entry in zip(pooled, plain, strict=True):
        assert mean.shape == entry.shape
        assert torch.equal(mean, entry.mean((2, 3), keepdim=True).expand_as(entry))


@settings(deadline=None, max_examples=5)
@given(shape=shapes())
def test_every_parameter_of_a_control_network_matters(
    shape: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    config = ControlNetConfig(UNetConfig(**shape[0]), **shape[1])
    control = build(config).requires_grad_(True)
    asked, hint = inputs(config, 1, 16, 16)  # two pixels at the fourth level, to attend to
    sum(entry.square().sum() for entry in told(control, asked, hint)).backward()  # pyright: ignore
    idle = [
        name
        for name, parameter in control.named_parameters()
        if not (parameter.grad is not None and parameter.grad.any())
    ]
    assert idle == []


# -- configs --


@settings(deadline=None, max_examples=15)
@given(shape=shapes(), pooled=st.booleans())
def test_weights_of_control_tell_their_config(
    shape: tuple[dict[str, Any], dict[str, Any]], pooled: bool
) -> None:
    config = ControlNetConfig(UNetConfig(**shape[0]), **shape[1], pooled=pooled)
    with torch.device("meta"):
        weights = ControlNet(config).state_dict()
    heads, groups = config.unet.heads, config.unet.groups
    assert ControlNetConfig.from_weights(weights, heads=heads, groups=groups, pooled=pooled) == config


def test_weights_of_stable_diffusions_control_tell_the_default_config() -> None:
    with torch.device("meta"):
        weights = ControlNet(ControlNetConfig()).state_dict()
    assert ControlNetConfig.from_weights(weights) == ControlNetConfig()


# -- guess mode --


@pytest.mark.parametrize("count", [2, 7, 13])
def test_guess_weights_grow_from_a_tenth_to_one_by_equal_ratios(count: int) -> None:
    weights = guess_weights(count)
    assert len(weights) == count
    assert (weights[0], weights[-1]) == (pytest.approx(0.1), 1)
    ratios = [later / earlier for earlier, later in itertools.pairwise(weights)]
    assert ratios == pytest.approx([10 ** (1 / (count - 1))] * (count - 1))


def test_guess_weights_are_one_an_entry() -> None:
    asked, hint = inputs()
    control = build()
    residuals = control(*asked, control.encode_hint(hint))
    weights = guess_weights(len(residuals.skips) + 1)
    scaled: Residuals = residuals.scaled(weights)
    assert scaled.middle is not None and residuals.middle is not None
    assert torch.equal(scaled.middle, residuals.middle)
    first, scaled_first = residuals.skips[0], scaled.skips[0]
    assert first is not None and scaled_first is not None
    assert torch.equal(scaled_first, first * weights[0])
