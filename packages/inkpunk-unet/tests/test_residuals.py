"""Residuals are added where the way up begins, image by image, and nowhere else."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import Residuals, UNet, UNetConfig
from torch import Tensor

CONFIG = UNetConfig(
    widths=(16, 32, 48), attention=(True, False, True), layers=1, heads=4, context_width=24, groups=8
)
ENTRIES = 7  # three levels of two skips, and the middle

sizes = st.integers(1, 19)


@functools.cache
def build(dtype: torch.dtype = torch.float64) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(CONFIG).requires_grad_(False).to(dtype)


def inputs(
    batch: int = 2, height: int = 9, width: int = 6, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return {
        "latents": torch.randn(batch, 4, height, width, generator=generator).to(dtype),
        "timesteps": torch.randint(1000, (batch,), generator=generator),
        "context": torch.randn(batch, 5, 24, generator=generator).to(dtype),
    }


def shapes(batch: int = 2, height: int = 9, width: int = 6) -> list[tuple[int, int, int, int]]:
    """What the skips and the middle of CONFIG measure."""
    half, quarter = ((height + 1) // 2, (width + 1) // 2), ((height + 3) // 4, (width + 3) // 4)
    return [
        (batch, 16, height, width),
        (batch, 16, height, width),
        (batch, 16, *half),
        (batch, 32, *half),
        (batch, 32, *quarter),
        (batch, 48, *quarter),
        (batch, 48, *quarter),
    ]


def drawn(seed: int = 0, *size: int, dtype: torch.dtype = torch.float64) -> Residuals:
    """Residuals at random; `size` is batch, height and width."""
    generator = torch.Generator().manual_seed(seed)
    return each(lambda shape: torch.randn(shape, generator=generator).to(dtype), *size)


def each(entry: Callable[[tuple[int, ...]], Tensor], *size: int) -> Residuals:
    *skips, middle = map(entry, shapes(*size))
    return Residuals(tuple(skips), middle)


def entries(residuals: Residuals) -> list[Any]:
    return [*residuals.skips, residuals.middle]


def only(residuals: Residuals, kept: int) -> Residuals:
    *skips, middle = (entry if index == kept else None for index, entry in enumerate(entries(residuals)))
    return Residuals(tuple(skips), middle)


def equal(ours: Residuals, others: Residuals) -> bool:
    return all(
        torch.equal(one, other) if one is not None and other is not None else one is other
        for one, other in zip(entries(ours), entries(others), strict=True)
    )


def difference(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).abs().max() / reference.abs().max())


# In double precision, so that nothing can hide behind rounding; batches of different sizes may sum in different
# orders, which costs some 1e-15 a layer.
EXACT = 1e-12


# -- what the network does with them --


@settings(deadline=None, max_examples=4)
@given(height=sizes, width=sizes, dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_zero_and_absent_residuals_change_no_bit(height: int, width: int, dtype: torch.dtype) -> None:
    unet, given = build(dtype), inputs(2, height, width, dtype)
    alone = unet(**given)
    zeros = each(lambda shape: torch.zeros(shape, dtype=dtype), 2, height, width)
    for residuals in (None, zeros, Residuals((None,) * 6, None)):
        assert torch.equal(unet(**given, residuals=residuals), alone)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_residuals_keep_the_latents_dtype(dtype: torch.dtype) -> None:
    noise = build(dtype)(**inputs(dtype=dtype), residuals=drawn(dtype=dtype))
    assert noise.dtype == dtype
    assert noise.isfinite().all()


def test_autocast_residuals_meet_an_autocast_network() -> None:
    given, residuals = inputs(dtype=torch.float32), drawn(dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert build(torch.float32)(**given, residuals=residuals).isfinite().all()


@settings(deadline=None, max_examples=6)
@given(height=sizes, width=sizes)
def test_residuals_are_added_where_the_way_up_begins(height: int, width: int) -> None:
    unet, residuals = build(), drawn(1, 2, height, width)
    begun: list[tuple[Tensor, ...]] = []

    def add_by_hand(level: Any, arguments: tuple[Tensor, list[Tensor], Tensor, Tensor]) -> tuple[Any, ...]:
        hidden, skips, time, context = arguments
        begun.append((*skips, hidden))
        # in place, since every level up takes its skips off the same list
        *skips[:], hidden = map(operator.add, begun[0], entries(residuals))
        return hidden, skips, time, context

    predicted = unet(**inputs(2, height, width), residuals=residuals)
    handle = unet.up[0].register_forward_pre_hook(add_by_hand)
    try:
        expected = unet(**inputs(2, height, width))
    finally:
        handle.remove()
    assert [tuple(skip.shape) for skip in begun[0]] == shapes(2, height, width)
    assert torch.equal(predicted, expected)


@pytest.mark.parametrize("entry", range(ENTRIES))
def test_every_entry_matters_and_learns(entry: int) -> None:
    residuals = only(drawn(2), entry)
    tensor = entries(residuals)[entry].requires_grad_(True)
    noise = build()(**inputs(), residuals=residuals)
    assert difference(noise.detach(), build()(**inputs())) > 1e-4
    noise.square().sum().backward()
    assert tensor.grad.any()


@settings(deadline=None, max_examples=4)
@given(height=sizes, width=sizes)
def test_an_image_does_not_notice_its_batch_mates_residuals(height: int, width: int) -> None:
    unet, given, residuals = build(), inputs(3, height, width), drawn(3, 3, height, width)
    together = unet(**given, residuals=residuals)
    for image in range(3):
        *skips, middle = (entry[image : image + 1] for entry in entries(residuals))
        alone = unet(
            **{name: value[image : image + 1] for name, value in given.items()},
            residuals=Residuals(tuple(skips), middle),
        )
        assert difference(together[image : image + 1], alone) <= EXACT


def test_residuals_keep_their_numbers_through_everything() -> None:
    one, other = drawn(4), drawn(5)
    build()(**inputs(), residuals=one + other)
    build()(**inputs(), residuals=one)
    one.scaled(0.5)
    one.scaled([2.0] * ENTRIES)
    assert equal(one, drawn(4)) and equal(other, drawn(5))


# -- what can be done with them --


def test_sets_add_entry_by_entry_in_any_order() -> None:
    one, other = drawn(6), drawn(7)
    assert all(map(torch.equal, entries(one + other), map(operator.add, entries(one), entries(other))))
    assert equal(one + other, other + one)


def test_a_set_is_the_sum_of_its_entries() -> None:
    whole = drawn(8)
    parts = [only(whole, entry) for entry in range(ENTRIES)]
    assert equal(functools.reduce(operator.add, parts), whole)


def test_two_controls_are_one_set_of_sums() -> None:
    unet, one, other = build(), drawn(9), drawn(10)
    *skips, middle = map(operator.add, entries(one), entries(other))
    expected = unet(**inputs(), residuals=Residuals(tuple(skips), middle))
    assert torch.equal(unet(**inputs(), residuals=one + other), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_weight_scales_every_entry_and_keeps_its_dtype(dtype: torch.dtype) -> None:
    residuals = drawn(11, dtype=dtype)
    for entry, scaled in zip(entries(residuals), entries(residuals.scaled(0.3)), strict=True):
        assert scaled.dtype == dtype
        assert torch.equal(scaled, entry * 0.3)
    assert equal(residuals.scaled(1.0), residuals)
    assert equal(residuals.scaled(0.0) + residuals, residuals)


def test_a_weight_an_entry_is_in_the_entries_order() -> None:
    residuals, weights = drawn(12), [0.5**power for power in range(ENTRIES)]
    scaled = residuals.scaled(weights)
    assert all(map(torch.equal, entries(scaled), map(operator.mul, entries(residuals), weights)))
    assert equal(residuals.scaled([0.3] * ENTRIES), residuals.scaled(0.3))


def test_what_is_absent_stays_absent() -> None:
    first = only(drawn(13), 0)
    assert equal(first.scaled([2.0] * ENTRIES), first.scaled(2.0))
    assert entries(first.scaled(2.0))[1:] == entries(first + first)[1:] == [None] * (ENTRIES - 1)
