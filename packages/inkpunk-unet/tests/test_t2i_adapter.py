"""A T2I-Adapter reads a hint once; what it tells joins each level's last layer on the UNet's way down."""

import dataclasses
import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import Residuals, T2IAdapter, T2IAdapterConfig, UNet, UNetConfig
from torch import Tensor

UNET = UNetConfig(
    widths=(16, 32, 48), attention=(True, True, False), layers=1, heads=4, context_width=24, groups=8
)
WHOLE = T2IAdapterConfig(widths=UNET.widths)
LIGHT = T2IAdapterConfig(widths=UNET.widths, light=True)

sizes = st.integers(1, 11)
# numbers of a config, not yet one, as those draw from `random`
shapes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "hint_channels": st.sampled_from([1, 3]),
        "widths": st.lists(st.sampled_from([8, 12, 32]), min_size=1, max_size=4).map(tuple),
        "layers": st.integers(1, 3),
        "light": st.booleans(),
    }
)


def build(config: T2IAdapterConfig = WHOLE, dtype: torch.dtype = torch.float64, seed: int = 0) -> T2IAdapter:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return T2IAdapter(config).requires_grad_(False).to(dtype)


@functools.cache
def unet(dtype: torch.dtype = torch.float64) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return UNet(UNET).requires_grad_(False).to(dtype)


def hint(
    batch: int = 2,
    height: int = 9,
    width: int = 5,
    channels: int = 3,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(batch, channels, 8 * height, 8 * width, generator=generator).to(dtype)


def inputs(
    batch: int = 2, height: int = 9, width: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """What a UNet is asked."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    latents = torch.randn(batch, 4, height, width, generator=generator).to(dtype)
    context = torch.randn(batch, 5, 24, generator=generator).to(dtype)
    return latents, torch.randint(1000, (batch,), generator=generator), context


def told(adapter: T2IAdapter, picture: Tensor) -> list[Tensor]:
    """One for each level; there are no others."""
    residuals = adapter(picture)
    assert residuals.skips == () and residuals.middle is None
    return [entry for entry in residuals.levels if entry is not None]


def only(residuals: Residuals, kept: int) -> Residuals:
    entries = [entry if level == kept else None for level, entry in enumerate(residuals.levels)]
    return Residuals(levels=tuple(entries))


def flat(entries: list[Tensor]) -> Tensor:
    return torch.cat([entry.flatten() for entry in entries])


def difference(ours: Tensor, reference: Tensor) -> float:
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


# -- what the adapter tells --


@settings(deadline=None, max_examples=20)
@given(shape=shapes, batch=st.integers(1, 2), height=sizes, width=sizes)
def test_there_is_one_for_each_level_half_as_large_as_the_last(
    shape: dict[str, Any], batch: int, height: int, width: int
) -> None:
    config = T2IAdapterConfig(**shape)
    picture = hint(batch, height, width, config.hint_channels)
    expected = [
        (batch, channels, -(-height // 2**level), -(-width // 2**level))  # halving rounds up
        for level, channels in enumerate(config.widths)
    ]
    assert [tuple(entry.shape) for entry in told(build(config), picture)] == expected


@pytest.mark.parametrize("config", [WHOLE, LIGHT], ids=["whole", "light"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_told_has_the_dtype_of_the_hint(config: T2IAdapterConfig, dtype: torch.dtype) -> None:
    assert {entry.dtype for entry in told(build(config, dtype), hint(dtype=dtype))} == {dtype}


def test_the_adapter_for_stable_diffusion_has_its_parameters() -> None:
    with torch.device("meta"):
        adapter = T2IAdapter(T2IAdapterConfig())
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 77_369_280


# Of 1,500 random configs, sizes and weights the worst was 2.7e-6, of few numbers that cancel.
SINGLE = 1e-5


@settings(deadline=None, max_examples=8)
@given(shape=shapes, height=sizes, width=sizes, seed=st.integers(0, 99))
def test_single_precision_costs_an_adapter_little(
    shape: dict[str, Any], height: int, width: int, seed: int
) -> None:
    config = T2IAdapterConfig(**shape)
    exact, single = (
        told(build(config, dtype, seed), hint(2, height, width, config.hint_channels).to(dtype))
        for dtype in (torch.float64, torch.float32)
    )
    assert difference(flat(single), flat(exact)) <= SINGLE


EXACT = 1e-12  # in double precision, so that a leak cannot hide behind rounding


@settings(deadline=None, max_examples=6)
@given(shape=shapes, height=sizes, width=sizes)
def test_a_hint_does_not_notice_its_batch_mates(shape: dict[str, Any], height: int, width: int) -> None:
    config = T2IAdapterConfig(**shape)
    adapter, pictures = build(config), hint(3, height, width, config.hint_channels)
    together = told(adapter, pictures)
    for picture in range(3):
        one = slice(picture, picture + 1)
        alone = told(adapter, pictures[one])
        assert all(
            difference(all_of[one], entry) <= EXACT for all_of, entry in zip(together, alone, strict=True)
        )


@pytest.mark.parametrize("config", [WHOLE, LIGHT], ids=["whole", "light"])
def test_every_parameter_of_an_adapter_matters(config: T2IAdapterConfig) -> None:
    adapter = build(config).requires_grad_(True)
    sum(entry.square().sum() for entry in told(adapter, hint())).backward()  # pyright: ignore
    idle = [
        name
        for name, parameter in adapter.named_parameters()
        if not (parameter.grad is not None and parameter.grad.any())
    ]
    assert idle == []


@settings(deadline=None, max_examples=25)
@given(shape=shapes)
def test_weights_of_an_adapter_tell_their_config(shape: dict[str, Any]) -> None:
    config = T2IAdapterConfig(**shape)
    with torch.device("meta"):
        weights = T2IAdapter(config).state_dict()
    assert T2IAdapterConfig.from_weights(weights) == config


@pytest.mark.parametrize("light", [False, True])
def test_weights_of_stable_diffusions_adapters_tell_their_config(light: bool) -> None:
    config = dataclasses.replace(T2IAdapterConfig(), light=light, layers=4 if light else 2)
    with torch.device("meta"):
        weights = T2IAdapter(config).state_dict()
    assert T2IAdapterConfig.from_weights(weights) == config


# -- what a UNet does with it --


@settings(deadline=None, max_examples=4)
@given(height=sizes, width=sizes)
def test_each_levels_joins_its_last_layer_before_it_is_halved(height: int, width: int) -> None:
    network, residuals = unet(), build()(hint(2, height, width))
    predicted = network(*inputs(2, height, width), residuals)
    last = [level.attentions[-1] if len(level.attentions) else level.resnets[-1] for level in network.down]
    handles = [
        layer.register_forward_hook(lambda _, __, out, extra=extra: out + extra)
        for layer, extra in zip(last, residuals.levels, strict=True)
    ]
    try:
        expected = network(*inputs(2, height, width))
    finally:
        for handle in handles:
            handle.remove()
    assert torch.equal(predicted, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_zeros_and_none_at_all_change_no_bit(dtype: torch.dtype) -> None:
    asked, network = inputs(dtype=dtype), unet(dtype)
    levels = build(dtype=dtype)(hint(dtype=dtype)).scaled(0.0).levels
    alone = network(*asked)
    for none in (levels, (None,) * 3, (levels[0], None, levels[2]), ()):
        assert torch.equal(network(*asked, Residuals(levels=none)), alone)


@pytest.mark.parametrize("level", range(3))
def test_every_level_matters_and_learns(level: int) -> None:
    residuals = only(build()(hint()), level)
    tensor = residuals.levels[level]
    assert tensor is not None
    tensor.requires_grad_(True)
    noise = unet()(*inputs(), residuals)
    assert difference(noise.detach(), unet()(*inputs())) > 1e-4
    noise.square().sum().backward()
    assert tensor.grad is not None and tensor.grad.any()


def test_an_adapter_keeps_its_numbers_through_everything() -> None:
    residuals, again = build()(hint()), build()(hint())
    unet()(*inputs(), residuals + again)
    residuals.scaled(0.5)
    assert all(map(torch.equal, residuals.levels, again.levels))


def test_two_adapters_are_one_set_of_sums() -> None:
    one, other = build()(hint()), build(LIGHT)(hint())
    both = one + other
    for summed, mine, theirs in zip(both.levels, one.levels, other.levels, strict=True):
        assert summed is not None and mine is not None and theirs is not None
        assert torch.equal(summed, mine + theirs)
    assert difference(unet()(*inputs(), both), unet()(*inputs(), one)) > 1e-4


def test_a_weight_a_level_stands_behind_the_middles() -> None:
    residuals = Residuals((None,) * 6) + build()(hint())
    scaled = residuals.scaled([9.0] * 7 + [0.5, 2.0, 0.0])
    for entry, weight, by_hand in zip(scaled.levels, (0.5, 2.0, 0.0), residuals.levels, strict=True):
        assert entry is not None and by_hand is not None
        assert torch.equal(entry, by_hand * weight)
    assert residuals.scaled(0.3).skips == (None,) * 6
    alone = only(residuals, 1).scaled([9.0, 9.0, 0.5, 9.0])  # the middle's, which is absent, and the levels'
    assert alone.levels[0] is alone.levels[2] is alone.middle is None


def test_levels_and_skips_are_added_each_in_their_place() -> None:
    """What joins the levels reaches the skips, to which a ControlNet's is then added."""
    network, adapter = unet(), build()(hint())
    generator = torch.Generator().manual_seed(5)
    seen: list[list[Tensor]] = []
    handle = network.up[0].register_forward_pre_hook(
        lambda _, arguments: seen.append([*arguments[1], arguments[0]])
    )
    try:
        network(*inputs(), adapter)
        skips = [torch.randn(skip.shape, generator=generator).double() for skip in seen[0]]
        control = Residuals(tuple(skips[:-1]), skips[-1])
        network(*inputs(), control + adapter)
    finally:
        handle.remove()
    assert all(map(torch.equal, seen[1], [own + entry for own, entry in zip(seen[0], skips, strict=True)]))
