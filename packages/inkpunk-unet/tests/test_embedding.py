"""The timestep embedding is what its docstring's formula says, and has the formula's symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import timestep_embedding

# An angle t * f is off by at most t * 2**-24 from rounding the product, plus t * f * 2**-24 * (2 ln(1/f) + 2)
# from rounding the frequency's exponent and the exponential; f ln(1/f) <= 1/e, so under 4 t 2**-24 in all.
# Cosine and sine are 1-Lipschitz and add an ulp.
ROUNDING = 2.0**-22

timesteps = st.one_of(st.integers(0, 999), st.floats(0, 999, width=32))
dims = st.integers(1, 400).map(lambda half: 2 * half)


def closed_form(timestep: float, dim: int) -> torch.Tensor:
    half = dim // 2
    angles = [timestep * 10_000 ** (-wave / half) for wave in range(half)]
    return torch.tensor([*map(math.cos, angles), *map(math.sin, angles)], dtype=torch.float64)


@settings(deadline=None)
@given(timestep=timesteps, dim=dims)
def test_embedding_is_the_closed_form(timestep: float, dim: int) -> None:
    embedded = timestep_embedding(torch.tensor([timestep]), dim)
    assert embedded.dtype == torch.float32
    error = (embedded[0].double() - closed_form(timestep, dim)).abs().max()
    assert error <= ROUNDING * (1 + timestep)


@settings(deadline=None)
@given(timestep=timesteps, dim=dims)
def test_every_embedding_has_the_same_length(timestep: float, dim: int) -> None:
    squares = timestep_embedding(torch.tensor([timestep]), dim).double().square().sum()
    # cos^2 + sin^2 = 1 for each of dim / 2 waves, whatever the angle: only the functions' rounding is left
    assert float(squares) == pytest.approx(dim / 2, rel=2.0**-21)


@settings(deadline=None)
@given(timestep=st.integers(0, 499), later=st.integers(0, 499), dim=dims)
def test_adding_timesteps_rotates_each_wave(timestep: int, later: int, dim: int) -> None:
    cosines, sines = timestep_embedding(torch.tensor([timestep, later, timestep + later]), dim).chunk(
        2, dim=1
    )
    first, second, both = torch.complex(cosines, sines)
    assert (first * second - both).abs().max() <= 4 * ROUNDING * (1 + timestep + later)


def test_timestep_zero_is_all_cosines_one_and_all_sines_zero() -> None:
    assert timestep_embedding(torch.tensor([0])).tolist() == [[1.0] * 160 + [0.0] * 160]


def test_no_two_timesteps_look_alike() -> None:
    embedded = timestep_embedding(torch.arange(1000)).double()
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(1000)
    assert distances.min() > 0.5


@settings(deadline=None)
@given(timestep=timesteps, dtype=st.sampled_from([torch.float64, torch.float32]))
def test_fractions_of_a_timestep_are_kept(timestep: float, dtype: torch.dtype) -> None:
    embedded = timestep_embedding(torch.tensor([timestep], dtype=dtype))
    assert torch.equal(embedded, timestep_embedding(torch.tensor([timestep], dtype=torch.float32)))


@pytest.mark.parametrize("dim", [-2, 0, 1, 321])
def test_only_a_positive_even_dim_is_accepted(dim: int) -> None:
    with pytest.raises(ValueError, match=f"positive even number, not {dim}"):
        timestep_embedding(torch.tensor([1]), dim)
