"""Samplers on data whose optimal denoiser is known in closed form: a Gaussian and a mixture of Gaussians."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log2, sqrt

import pytest
import torch
from inkpunk_sampling import (
    CLEAN,
    SAMPLERS,
    Denoise,
    Draw,
    Method,
    NoiseSchedule,
    Sampler,
    find_sampler,
    sample,
    seeded_noise,
    timesteps,
)
from torch import Tensor

SCHEDULE = NoiseSchedule()
MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.8, 0.5], [0.5, 0.6]], dtype=torch.float64)
IDENTITY = torch.eye(2, dtype=torch.float64)


def gaussian(latents: Tensor, timestep: float) -> Tensor:
    """E[eps | x_t] for x_0 ~ N(MEAN, COVARIANCE)."""
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    precision = torch.linalg.inv(signal**2 * COVARIANCE + noise**2 * IDENTITY)
    return ((latents - signal * MEAN.to(latents.dtype)) @ precision.to(latents.dtype)) * noise


def chain_moments(path: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what DDPM draws with `gaussian`: every step is affine in x, so both are exact.

    Written as line 4 of Ho et al.'s Algorithm 2, x - beta / sqrt(1 - alpha-bar) eps over sqrt(alpha), which
    the sampler never computes: it goes by way of x_0.
    """
    mean, covariance = torch.zeros(2, dtype=torch.float64), IDENTITY
    for t, s in pairwise((*path, CLEAN)):
        abar_t, abar_s = SCHEDULE.alpha_bar(t), SCHEDULE.alpha_bar(s)
        alpha, beta = abar_t / abar_s, 1 - abar_t / abar_s
        score = torch.linalg.inv(abar_t * COVARIANCE + (1 - abar_t) * IDENTITY)
        linear = (IDENTITY - beta * score) / sqrt(alpha)
        mean = linear @ mean + beta * score @ (sqrt(abar_t) * MEAN) / sqrt(alpha)
        covariance = linear @ covariance @ linear.T + (1 - abar_s) / (1 - abar_t) * beta * IDENTITY
    return mean, covariance


def sampled_moments(steps: int, spacing: str, sampler: str = "ddpm") -> tuple[Tensor, Tensor]:
    """Mean and covariance of what `sample` draws, without statistics: its response to each unit of noise.

    Picture 0 gets no noise at all: the mean. Every other one gets a single unit, in one dimension of one
    draw: a column of the square root of the covariance.
    """

    def units() -> Iterator[Tensor]:
        for draw in range(steps):
            noise = torch.zeros(1 + 2 * steps, 2, dtype=torch.float64)
            noise[1 + 2 * draw, 0] = noise[2 + 2 * draw, 1] = 1
            yield noise

    *_, last = sample(gaussian, units(), SCHEDULE, sampler=sampler, steps=steps, spacing=spacing)
    mean = last.latents[0]
    responses = last.latents[1:] - mean
    return mean, responses.T @ responses


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 150])
def test_ddpm_draws_exactly_the_moments_of_its_chain(steps: int, spacing: str):
    mean, covariance = sampled_moments(steps, spacing)
    expected_mean, expected_covariance = chain_moments(timesteps(SCHEDULE, steps, spacing))
    # float64 rounding alone, of some hundred operations on numbers up to 15 (1 / signal of the last
    # timestep).
    torch.testing.assert_close(mean, expected_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(covariance, expected_covariance, rtol=0, atol=1e-12)


def test_all_thousand_ddpm_steps_draw_the_datas_mean_and_covariance():
    mean, covariance = sampled_moments(1000, "linspace")
    # What remains: the chain starts at N(0, 1) while the last timestep still holds 7% of the signal, and
    # beta~ is the reverse step's variance only for steps without length (Ho et al., section 3.2).
    torch.testing.assert_close(mean, MEAN, rtol=0, atol=0.002)
    torch.testing.assert_close(covariance, COVARIANCE, rtol=0, atol=0.0075)


def test_the_error_of_ddpm_is_of_first_order_in_the_length_of_a_step():
    def error(steps: int) -> float:
        return (chain_moments(timesteps(SCHEDULE, steps))[1] - COVARIANCE).abs().max().item()

    # Twice the steps leave half the error, up to terms of second order.
    assert error(250) / error(500) == pytest.approx(2, rel=0.15)
    assert error(500) / error(1000) == pytest.approx(2, rel=0.15)


def test_seeded_samples_have_the_moments_of_the_chain():
    count = 10_000
    noise = (draw[0] for draw in seeded_noise([2026], (count, 2)))  # one picture, its rows the samples
    *_, last = sample(gaussian, noise, SCHEDULE, steps=100)
    mean, covariance = chain_moments(timesteps(SCHEDULE, 100))
    variances = covariance.diag()
    # Five standard errors: of a mean sqrt(v / n), of a covariance sqrt((c_ij^2 + c_ii c_jj) / n).
    assert ((last.latents.mean(0) - mean).abs() < 5 * (variances / count).sqrt()).all()
    errors = ((covariance**2 + torch.outer(variances, variances)) / count).sqrt()
    assert ((last.latents.T.cov() - covariance).abs() < 5 * errors).all()


WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
CENTRES = torch.tensor([[1.0, 1.0], [-1.2, 0.3], [0.2, -1.5]])
VARIANCES = torch.tensor([0.04, 0.09, 0.02])


def mixture(latents: Tensor, timestep: float) -> Tensor:
    """E[eps | x_t] for x_0 from a mixture of the round Gaussians N(CENTRES, VARIANCES)."""
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    spreads = signal**2 * VARIANCES + noise**2
    away = [latents - signal * centre for centre in CENTRES]
    squares = torch.stack([each.square().sum(-1) for each in away], dim=-1)
    posterior = (WEIGHTS.log() - spreads.log() - squares / (2 * spreads)).softmax(-1) / spreads
    weighted = [weight[:, None] * each for weight, each in zip(posterior.unbind(-1), away, strict=True)]
    return noise * torch.stack(weighted).sum(0)


def test_seeded_samples_of_a_mixture_have_its_weights_mean_and_covariance():
    count = 10_000
    noise = (draw[0] for draw in seeded_noise([7], (count, 2)))
    *_, last = sample(mixture, noise, SCHEDULE, steps=250)
    # A chain of 250 steps is not quite the data's distribution: over 100,000 samples its covariance came out
    # low by up to 0.011, its mean and weights within their standard errors. All else is five standard errors.
    bias = 0.015
    mean = WEIGHTS @ CENTRES
    away = CENTRES - mean
    covariance = (WEIGHTS * VARIANCES).sum() * torch.eye(2) + (away.T * WEIGHTS) @ away
    assert ((last.latents.mean(0) - mean).abs() < 5 * (covariance.diag() / count).sqrt() + bias).all()
    centred = last.latents - last.latents.mean(0)
    errors = (centred[:, :, None] * centred[:, None, :]).std(0) / sqrt(count)
    assert ((last.latents.T.cov() - covariance).abs() < 5 * errors + bias).all()
    # The components lie five deviations and more apart: a sample's is the nearest.
    nearest = torch.cdist(last.latents, CENTRES).argmin(-1)
    for component, weight in enumerate(WEIGHTS.tolist()):
        drawn = last.latents[nearest == component]
        variance = VARIANCES[component].item()
        assert abs(len(drawn) / count - weight) < 5 * sqrt(weight * (1 - weight) / count) + bias
        assert (drawn.mean(0) - CENTRES[component]).abs().max() < 5 * sqrt(variance / len(drawn)) + bias


# The protocol's claim: a new sampler is one function and one entry in SAMPLERS.


def second_order(alpha: float) -> Sampler:
    """Karras et al. 2022 (arXiv 2206.00364), Algorithm 3: in sigmas, and with two predictions a step.

    The second is taken `alpha` of the way down, at 2/3 at a sigma between trained timesteps (Ralston's).
    """

    def sampler(
        denoise: Denoise, x: Tensor, timesteps: Sequence[float], schedule: NoiseSchedule, draw: Draw
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for t, s in pairwise((*timesteps, CLEAN)):
            sigma, lower = schedule.sigma(t), schedule.sigma(s)
            y = x / schedule.signal(t)
            slope = denoise(x, t)
            x0 = y - sigma * slope
            if s != CLEAN:
                middle = sigma + alpha * (lower - sigma)
                m = schedule.timestep(middle)
                second = denoise(schedule.signal(m) * (y + (middle - sigma) * slope), m)
                slope = (1 - 1 / (2 * alpha)) * slope + 1 / (2 * alpha) * second
            x = schedule.signal(s) * (y + (lower - sigma) * slope)
            yield x, x0

    return sampler


@pytest.fixture(autouse=True)
def more_samplers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(
        SAMPLERS, "ralston", Method(second_order(2 / 3), 2, 2, False, "Ralston 1962", ("", "", ""))
    )


def flow_error(sampler: str, steps: int, spacing: str = "linspace") -> float:
    """How far a deterministic sampler ends from the exact probability flow, a scaling of each axis."""
    initial = next(seeded_noise([5], (50, 2)))[0].double()
    *_, at_zero, _last = sample(
        gaussian, iter([initial]), SCHEDULE, sampler=sampler, steps=steps, spacing=spacing
    )
    # Judged at timestep 0, before the last step, which is Euler's in every sampler.
    (first, second), axes = torch.linalg.eigh(COVARIANCE)
    variances = torch.stack([first, second])
    top, bottom = (SCHEDULE.sigma(t) ** 2 for t in (999, 0))
    along = (initial / SCHEDULE.signal(999) - MEAN) @ axes
    exact = (along * ((variances + bottom) / (variances + top)).sqrt()) @ axes.T + MEAN
    return (at_zero.latents / SCHEDULE.signal(0) - exact).abs().max().item()


def test_a_sampler_added_as_one_function_follows_the_flow_to_its_order():
    # 112 and 334 steps are even strides of 9 and 3 timesteps: a third of the length, 3**2 less error.
    coarse, fine = flow_error("ralston", 112), flow_error("ralston", 334)
    assert fine < 0.02  # of data about 1 in size
    assert coarse / fine == pytest.approx(3**2, rel=0.25)


@pytest.mark.parametrize("spacing", ["karras", "exponential"])
@pytest.mark.parametrize("name", [name for name, method in SAMPLERS.items() if not method.stochastic])
def test_deterministic_samplers_follow_the_flow_to_the_order_they_declare(name: str, spacing: str):
    coarse, fine = (flow_error(name, steps, spacing) for steps in (80, 160))
    slope = log2(coarse / fine)
    order = SAMPLERS[name].order
    if name == "lms":
        assert slope > order  # of order 4 but for its beginning: 3.2 to 3.3 here
    else:
        assert slope == pytest.approx(order, abs=0.1)
    assert fine < 0.03 ** (1 + (order - 1) / 2)  # not only parallel to the right slope


@pytest.mark.parametrize("name", [name for name, method in SAMPLERS.items() if method.stochastic])
def test_stochastic_samplers_draw_the_datas_moments_to_the_order_they_declare(name: str):
    errors: list[float] = []
    for steps in (50, 100, 200):
        mean, covariance = sampled_moments(steps, "linspace", name)
        errors.append((covariance - COVARIANCE).abs().max().item())
        assert (mean - MEAN).abs().max() < 0.1
    assert errors[-1] < 0.06
    for coarse, fine in pairwise(errors):
        assert log2(coarse / fine) > SAMPLERS[name].order - 0.35


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_asks_and_draws_as_often_as_it_declares(name: str):
    asked, drawn = 0, 0

    def watched(latents: Tensor, timestep: float) -> Tensor:
        nonlocal asked
        asked += 1
        return gaussian(latents, timestep)

    def noise() -> Iterator[Tensor]:
        nonlocal drawn
        for draw in seeded_noise([5], (3, 2)):
            yield draw[0]
            drawn += 1

    steps = len([*sample(watched, noise(), SCHEDULE, sampler=name, steps=7)])
    method = SAMPLERS[name]
    assert steps == 7
    assert asked == 7 * method.calls - (method.calls - 1)  # the last step, to no noise at all, is Euler's
    assert drawn == (6 if method.stochastic else 0)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ddpm", ("ddpm", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++ 2m exponential", ("dpmpp_2m", "exponential")),
        ("Euler a", ("euler_a", None)),
        ("dpm_2_ancestral", ("dpm2_a", None)),
        ("HeunDiscreteScheduler", ("heun", None)),
    ],
)
def test_a_sampler_is_found_by_any_programs_name(asked: str, found: tuple[str, str | None]):
    assert find_sampler(asked) == found


@pytest.mark.parametrize("asked", ["", " karras", "karras", "dpmm", "euler  karras"])
def test_a_name_that_nobody_has_is_refused_with_those_there_are(asked: str):
    with pytest.raises(ValueError, match="there is none of that name; use ddpm, ddim, euler"):
        find_sampler(asked)


def test_no_two_samplers_have_a_name_in_common():
    named = [
        name
        for own, method in SAMPLERS.items()
        for name in {own, *map(str.lower, filter(None, method.elsewhere))}
    ]
    assert len(named) == len({*named})


def test_a_sampler_may_ask_for_a_prediction_between_two_trained_timesteps():
    seen: list[float] = []

    def watched(latents: Tensor, timestep: float) -> Tensor:
        seen.append(timestep)
        return gaussian(latents, timestep)

    list(sample(watched, seeded_noise([5], (2, 2)), SCHEDULE, sampler="ralston", steps=5))
    ends, between = seen[::2], seen[1::2]
    assert ends == list(timesteps(SCHEDULE, 5))
    assert all(
        high > t > low and t != round(t) for (high, low), t in zip(pairwise(ends), between, strict=True)
    )
