"""On the sphere: ends are exact, lengths are kept, and no image knows of its neighbours."""

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import slerp
from torch import Tensor

few = settings(deadline=None, max_examples=30)
amounts = st.floats(0, 1)
seeds = st.integers(0, 1000)
ROUNDING = 1e-5  # float32, of sums over some hundreds of numbers, relative to the length


def draws(seed: int, batch: int = 2, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    start, end = (scale * torch.randn(batch, 4, 8, 6, generator=generator) for _ in range(2))
    return start, end


def lengths(draw: Tensor) -> Tensor:
    return draw.flatten(1).norm(dim=1)


@few
@given(seeds, st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_ends_are_exact(seed: int, scale: float) -> None:
    start, end = draws(seed, scale=scale)
    assert torch.equal(slerp(start, end, 0.0), start)
    assert torch.equal(slerp(start, end, 1.0), end)


@few
@given(seeds, amounts)
def test_of_equal_lengths_the_length_is_kept(seed: int, amount: float) -> None:
    start, end = draws(seed)
    end = end * (lengths(start) / lengths(end)).view(-1, 1, 1, 1)
    torch.testing.assert_close(lengths(slerp(start, end, amount)), lengths(start), rtol=ROUNDING, atol=0)


@few
@given(seeds, amounts)
def test_the_angle_grows_evenly(seed: int, amount: float) -> None:
    start, end = (draw.double() for draw in draws(seed, batch=1))

    def angle(one: Tensor, other: Tensor) -> float:
        cosine = torch.dot(one.flatten(), other.flatten()) / one.norm() / other.norm()
        return float(torch.acos(cosine.clamp(-1, 1)))

    start, end = start / start.norm(), end / end.norm()  # of unequal lengths it does not
    went = angle(start, slerp(start, end, amount))
    assert went == pytest.approx(amount * angle(start, end), abs=1e-5)  # the cosine loses half the digits


@few
@given(seeds, amounts)
def test_there_and_back_is_one_way(seed: int, amount: float) -> None:
    start, end = draws(seed)
    torch.testing.assert_close(
        slerp(start, end, amount), slerp(end, start, 1 - amount), rtol=0, atol=ROUNDING
    )


@few
@given(seeds, amounts, st.permutations([0, 1, 2]))
def test_an_image_is_the_same_in_any_batch(seed: int, amount: float, order: list[int]) -> None:
    start, end = draws(seed, batch=3)
    whole = slerp(start, end, amount)
    assert torch.equal(slerp(start[order], end[order], amount), whole[order])
    assert torch.equal(slerp(start[1:2], end[1:2], amount), whole[1:2])


def test_halfway_noise_is_as_long_as_noise_and_the_mean_is_not() -> None:
    start, end = (torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert float(slerp(start, end, 0.5).std()) == pytest.approx(1, abs=0.02)
    assert float(((start + end) / 2).std()) == pytest.approx(sqrt(1 / 2), abs=0.02)


@few
@given(seeds, amounts, st.floats(0.1, 10), st.floats(0, 1e-6))
def test_of_one_direction_the_way_is_straight(seed: int, amount: float, factor: float, apart: float) -> None:
    start, other = draws(seed)
    end = factor * (start + apart * other)
    straight = (1 - amount) * start + amount * end
    torch.testing.assert_close(slerp(start, end, amount), straight, rtol=ROUNDING, atol=ROUNDING)


def test_from_nothing_the_way_is_straight() -> None:
    start, end = draws(3)
    start[0] = 0
    assert torch.equal(slerp(start, end, 0.25)[0], 0.25 * end[0])
    assert not torch.equal(slerp(start, end, 0.25)[1], 0.75 * start[1] + 0.25 * end[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    start, end = (draw.to(dtype) for draw in draws(4))
    result = slerp(start, end, 0.3)
    assert result.dtype == dtype
    torch.testing.assert_close(
        result.double(), slerp(start.double(), end.double(), 0.3), rtol=0.01, atol=0.01
    )


def test_what_has_no_way_is_refused() -> None:
    start, end = draws(5)
    for amount in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="amount"):
            slerp(start, end, amount)
    with pytest.raises(ValueError, match="opposite"):
        slerp(start, -2 * start, 0.5)
    with pytest.raises(ValueError, match=r"\[2, 4, 8, 6\] and \[2, 4, 8, 5\]"):
        slerp(start, end[..., 1:], 0.5)
