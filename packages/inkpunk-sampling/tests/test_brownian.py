from itertools import pairwise
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import SAMPLERS, NoiseSchedule, brownian_path, sample, seeded_noise
from torch import Tensor

SCHEDULE = NoiseSchedule()
LOW, HIGH = SCHEDULE.sigma(0), SCHEDULE.sigma(999)
SIGMAS = st.floats(0.03, 14.6)


@given(SIGMAS, SIGMAS, SIGMAS)
@settings(deadline=None)
def test_the_noise_of_two_parts_is_that_of_the_whole(a: float, b: float, c: float):
    low, middle, high = sorted(round(each, 5) for each in (a, b, c))
    if not low < middle < high:
        return
    path = brownian_path([7], (3,), SCHEDULE)
    parts = sqrt(high - middle) * path(high, middle) + sqrt(middle - low) * path(middle, low)
    # float32, of values up to 15
    torch.testing.assert_close(parts, sqrt(high - low) * path(high, low), rtol=0, atol=1e-5)


def test_it_is_standard_normal_and_independent_from_part_to_part():
    path = brownian_path([11], (200, 200), SCHEDULE)
    places = [HIGH, 9.0, 4.2, 4.1, 1.0, 0.25, LOW]
    draws = torch.stack([path(high, low).flatten() for high, low in pairwise(places)])
    covariance = draws.cov()
    error = 5 * sqrt(2 / 40_000)  # five standard errors of a variance
    torch.testing.assert_close(covariance, torch.eye(len(draws)), rtol=0, atol=error)
    assert draws.mean(1).abs().max() < 5 / 200


def test_an_images_path_is_its_seeds_alone():
    together, alone = brownian_path([3, 4], (2, 5), SCHEDULE), brownian_path([4], (2, 5), SCHEDULE)
    together(9.0, 2.0), alone(1.0, 0.5)  # what was asked for before changes nothing
    assert torch.equal(together(5.0, 1.5)[1:], alone(5.0, 1.5))
    assert not torch.equal(together(5.0, 1.5)[0], together(5.0, 1.5)[1])


def test_sources_differ_and_global_state_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    torchs, cudas = (brownian_path([4], (5,), SCHEDULE, source)(5.0, 1.0) for source in ("torch", "philox"))
    assert not torch.equal(torchs, cudas)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("sigma", "lower"), [(1.0, 1.0), (1.0, 2.0), (20.0, 15.0), (0.02, 0.01), (1.0, 0.9999999)]
)
def test_a_way_of_no_length_is_refused(sigma: float, lower: float):
    with pytest.raises(ValueError, match="give two different sigmas, the greater first"):
        brownian_path([4], (5,), SCHEDULE)(sigma, lower)


@pytest.mark.parametrize(
    ("seeds", "shape", "source"),
    [([], (2,), "torch"), ([-1], (2,), "torch"), ([1], (0,), "torch"), ([1], (2,), "dice")],
)
def test_it_refuses_what_seeded_noise_refuses(seeds: list[int], shape: tuple[int, ...], source: str):
    with pytest.raises(ValueError) as ours:
        brownian_path(seeds, shape, SCHEDULE, source)
    with pytest.raises(ValueError) as theirs:
        seeded_noise(seeds, shape, source)
    assert str(ours.value) == str(theirs.value)


def smooth(latents: Tensor, timestep: float) -> Tensor:
    """The noise in latents of round data of deviation 1/2 around 0."""
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    return noise * latents / (signal**2 / 4 + noise**2)


def drawn(sampler: str, steps: int) -> Tensor:
    shape = (4, 8, 8)
    *_, last = sample(
        smooth,
        seeded_noise([5], shape),
        SCHEDULE,
        sampler=sampler,
        steps=steps,
        spacing="karras",
        brownian=brownian_path([5], shape, SCHEDULE),
    )
    return last.latents


@pytest.mark.parametrize("sampler", [name for name, method in SAMPLERS.items() if method.noise == "brownian"])
def test_more_steps_draw_the_same_picture_more_finely(sampler: str):
    few, more, many = (drawn(sampler, steps) for steps in (20, 60, 240))
    # relative to the picture; measured at most 0.18 and 0.06, where fresh noise draws another one (1.3 and 1.3)
    assert (few - many).norm() < 0.25 * many.norm()
    assert (more - many).norm() < 0.1 * many.norm()
    other = drawn("euler_a", 20)
    assert (drawn("euler_a", 60) - other).norm() > other.norm()


@pytest.mark.parametrize("sampler", [name for name, method in SAMPLERS.items() if method.noise == "brownian"])
def test_without_a_path_the_sampler_says_what_to_give(sampler: str):
    with pytest.raises(ValueError, match=r"give brownian=brownian_path\(seeds, shape, schedule\)"):
        sample(smooth, seeded_noise([5], (2,)), sampler=sampler)


def test_a_path_of_another_shape_is_refused():
    path = brownian_path([5], (3,), SCHEDULE)
    with pytest.raises(ValueError, match="Brownian path's noise has shape"):
        list(sample(smooth, seeded_noise([5], (2,)), sampler="dpmpp_sde", brownian=path))
