"""Samplers on data whose optimal denoiser is known in closed form: a Gaussian and a mixture of Gaussians."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, inf, log, log2, nan, sqrt

import pytest
import torch
from inkpunk_sampling import (
    CLEAN,
    CONVENTIONS,
    SAMPLERS,
    Draw,
    Elsewhere,
    Method,
    Model,
    NoiseSchedule,
    Sampler,
    find_sampler,
    find_spacing,
    sample,
    seeded_noise,
    timesteps,
)
from inkpunk_sampling.samplers import ALIASES
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


class Units:
    """Noise of which every tensor is one unit of one dimension, in a picture of its own; picture 0 gets none.

    What a sampler makes of it is its response to the noise: a column of the square root of the covariance, without
    statistics. As a Brownian path it is the same noise for the same part of the path.
    """

    def __init__(self, first: int, count: int) -> None:
        """Leave `first` pictures before those of `count` units."""
        self.pictures, self.places = first + 2 * count, iter(range(first, first + 2 * count, 2))
        self.parts: list[tuple[float, float, Tensor]] = []

    def __call__(self, sigma: float = 0.0, lower: float = 0.0) -> Tensor:
        place = next(self.places)
        noise = torch.zeros(self.pictures, 2, dtype=torch.float64)
        noise[place, 0] = noise[place + 1, 1] = 1
        return noise

    def between(self, sigma: float, lower: float) -> Tensor:
        inside = [part for part in self.parts if lower <= part[1] and part[0] <= sigma]
        rest = min((low for _, low, _ in inside), default=sigma)
        if rest > lower:
            self.parts.append((rest, lower, self()))
            inside.append(self.parts[-1])
        return torch.stack(
            [((high - low) / (sigma - lower)) ** 0.5 * part for high, low, part in inside]
        ).sum(0)


def moments(drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of responses to units."""
    responses = drawn[1:] - drawn[0]
    return drawn[0], responses.T @ responses


def sampled_moments(steps: int, spacing: str) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what `sample` draws with ddpm."""
    *_, last = sample(gaussian, iter(Units(1, steps), None), SCHEDULE, steps=steps, spacing=spacing)
    return moments(last.latents)


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
        model: Model, x: Tensor, path: Sequence[float], draw: Draw
    ) -> Iterator[tuple[Tensor, Tensor]]:
        schedule = model.schedule
        for t, s in pairwise(path):
            sigma, lower = schedule.sigma(t), schedule.sigma(s)
            y = x / schedule.signal(t)
            x0, slope = model(x, t)
            if s != CLEAN:
                middle = sigma + alpha * (lower - sigma)
                m = schedule.timestep(middle)
                second = model(schedule.signal(m) * (y + (middle - sigma) * slope), m).noise
                slope = (1 - 1 / (2 * alpha)) * slope + 1 / (2 * alpha) * second
            x = schedule.signal(s) * (y + (lower - sigma) * slope)
            yield x, x0

    return sampler


@pytest.fixture(autouse=True)
def more_samplers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(
        SAMPLERS,
        "ralston",
        Method(second_order(2 / 3), order=2, calls=2, cites="Ralston 1962", elsewhere=Elsewhere()),
    )


def path_with_a_start(steps: int) -> tuple[float, ...]:
    """Karras's sigmas after three short steps, from which methods that go by earlier predictions have them.

    Begun with fewer, a method's first step would be of first order, and its error the greatest of all. The short ones
    are of half a step squared: their error is of order 4.
    """
    top, bottom = SCHEDULE.sigma(999), SCHEDULE.sigma(0)
    short = (log(top / bottom) / steps) ** 2 / 2
    sigmas = [top * exp(-i * short) for i in range(4)]
    start, end = sigmas[-1] ** (1 / 7), bottom ** (1 / 7)
    sigmas += [(start + (end - start) * i / steps) ** 7 for i in range(1, steps)]
    return (999.0, *map(SCHEDULE.timestep, sigmas[1:]), 0.0)


def flow_error(sampler: str, steps: int) -> float:
    """How far a deterministic sampler ends from the exact probability flow, a scaling of each axis."""
    initial = next(seeded_noise([5], (50, 2)))[0].double()
    *_, (latents, _x0) = SAMPLERS[sampler](
        Model(gaussian, SCHEDULE), initial, path_with_a_start(steps), Units(1, 0)
    )
    variances, axes = torch.linalg.eigh(COVARIANCE)
    top, bottom = (SCHEDULE.sigma(t) ** 2 for t in (999, 0))
    along = (initial / SCHEDULE.signal(999) - MEAN) @ axes
    exact = (along * ((variances + bottom) / (variances + top)).sqrt()) @ axes.T + MEAN
    return (latents / SCHEDULE.signal(0) - exact).abs().max().item()


def moments_error(sampler: str, steps: int) -> tuple[float, float]:
    """How far mean and covariance of a stochastic sampler are from the data's, when it begins at the exact ones."""
    method, path = SAMPLERS[sampler], path_with_a_start(steps)
    units = Units(3, 2 * len(path))
    signal, noise = SCHEDULE.signal(999), SCHEDULE.noise(999)
    initial = (signal * MEAN).repeat(units.pictures, 1)
    initial[1:3] += torch.linalg.cholesky(signal**2 * COVARIANCE + noise**2 * IDENTITY).T
    draw = units.between if method.noise == "brownian" else units
    *_, (latents, _x0) = method(Model(gaussian, SCHEDULE), initial, path, draw)
    mean, covariance = moments(latents / SCHEDULE.signal(0))
    exact = COVARIANCE + SCHEDULE.sigma(0) ** 2 * IDENTITY  # at timestep 0
    return (mean - MEAN).abs().max().item(), (covariance - exact).abs().max().item()


ORDERED = [name for name, method in SAMPLERS.items() if method.order]


@pytest.mark.parametrize("name", [*ORDERED, "ralston"])
def test_every_sampler_has_the_order_it_declares(name: str):
    method = SAMPLERS[name]
    if method.stochastic:
        (mean, coarse), (_, fine) = (moments_error(name, steps) for steps in (50, 100))
        assert mean < 1e-12  # exact in all of them, for a Gaussian: rounding alone
    else:
        coarse, fine = (flow_error(name, steps) for steps in (50, 100))
    slope = log2(coarse / fine)
    print(f"{name}: order {method.order}, slope {slope:.2f}")  # the README's table, by -rP
    # Slopes come near the order as steps shorten. At these they are within 0.2 of it.
    assert slope == pytest.approx(method.order, abs=0.22)
    assert fine < 0.06 / 4 ** (method.order - 1)  # not only parallel to the right slope


@pytest.mark.parametrize("steps", [1, 4])
def test_lcm_draws_the_exact_moments_in_any_number_of_steps(steps: int):
    """Of a model that is what its own were distilled to be: the end of the flow that leads through x_t."""
    variances, axes = torch.linalg.eigh(COVARIANCE)

    def consistent(latents: Tensor, timestep: float) -> Tensor:
        sigma = SCHEDULE.sigma(timestep)
        along = (latents / SCHEDULE.signal(timestep) - MEAN) @ axes
        return (along * (variances / (variances + sigma**2)).sqrt()) @ axes.T + MEAN

    units = Units(3, steps)
    path = (*timesteps(SCHEDULE, steps, "trailing"), CLEAN)
    signal, noise = SCHEDULE.signal(999), SCHEDULE.noise(999)
    initial = (signal * MEAN).repeat(units.pictures, 1)
    initial[1:3] += torch.linalg.cholesky(signal**2 * COVARIANCE + noise**2 * IDENTITY).T
    *_, (latents, _x0) = SAMPLERS["lcm"](Model(consistent, SCHEDULE, "sample"), initial, path, units)
    mean, covariance = moments(latents)
    # it mixes in c_skip of x_t, 4e-8 at timestep 249
    torch.testing.assert_close(mean, MEAN, rtol=0, atol=1e-6)
    torch.testing.assert_close(covariance, COVARIANCE, rtol=0, atol=1e-6)


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

    def brownian(sigma: float, lower: float) -> Tensor:
        nonlocal drawn
        assert sigma > lower > 0
        drawn += 1
        return torch.ones(3, 2)

    steps = len([*sample(watched, noise(), SCHEDULE, sampler=name, steps=7, brownian=brownian)])
    method = SAMPLERS[name]
    assert steps == 7
    # the last step, to no noise at all, is Euler's; the first of plms is taken twice
    assert asked == 7 * method.calls - (method.calls - 1) + (name == "plms")
    draws = {"none": 0, "fresh": 6, "brownian": 6 * method.calls}[method.noise]
    assert drawn == (draws if method.stochastic else 0)


@pytest.mark.parametrize("name", [name for name, method in SAMPLERS.items() if method.eta is not None])
def test_without_eta_no_noise_is_drawn(name: str):
    noise = next(seeded_noise([5], (3, 2)))
    *_, last = sample(gaussian, iter([noise]), SCHEDULE, sampler=name, steps=7, eta=0.0)
    assert last.latents.isfinite().all()


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("tcd", "ddim"),
        ("euler_a", "euler"),
        ("dpm2_a", "dpm2"),
        ("dpmpp_2m_sde", "dpmpp_2m"),
        ("dpmpp_2s_a", "dpmpp_sde"),
    ],
)
def test_without_eta_a_stochastic_sampler_is_the_deterministic_one(name: str, same_as: str):
    noise = next(seeded_noise([5], (3, 2))).double()
    ends = [
        [*sample(gaussian, iter([noise]), SCHEDULE, sampler=each, steps=7, spacing="karras", eta=eta)]
        for each, eta in ((name, 0.0), (same_as, None if SAMPLERS[same_as].eta is None else 0.0))
    ]
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours.latents, theirs.latents, rtol=1e-12, atol=1e-12)  # rounding


@pytest.mark.parametrize("name", ["ddim", "euler_a"])
def test_with_eta_1_ddim_draws_what_ddpm_draws(name: str):
    noise = torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, ddpms = (
        [*sample(gaussian, iter(noise), SCHEDULE, sampler=each, steps=9, spacing="linspace", eta=eta)][
            -1
        ].latents
        for each, eta in ((name, 1.0), ("ddpm", None))
    )
    torch.testing.assert_close(ours, ddpms, rtol=1e-10, atol=1e-10)  # rounding, at a sigma of 15


@pytest.mark.parametrize(
    ("sampler", "eta", "words"),
    [
        ("heun", 1.0, "this sampler has none"),
        ("euler_a", -1.0, "give 0 for no noise"),
        ("euler_a", inf, "give 0 for no noise"),
        ("ddim", nan, "give 0 for no noise"),
    ],
)
def test_an_eta_that_a_sampler_cannot_take_is_refused_at_once(sampler: str, eta: float, words: str):
    with pytest.raises(ValueError, match=words):
        sample(gaussian, seeded_noise([5], (2, 2)), SCHEDULE, sampler=sampler, eta=eta)


@pytest.mark.parametrize("sampler", ["ddim", "tcd"])
def test_more_noise_than_there_is_is_refused_at_once(sampler: str):
    with pytest.raises(ValueError, match=r"eta 1\.01: give 0 for no noise to 1"):
        sample(gaussian, seeded_noise([5], (2,)), SCHEDULE, sampler=sampler, eta=1.01)


def test_tcd_draws_no_noise_into_its_last_step():
    noise = torch.ones(4, 3, 2, dtype=torch.float64)
    for conventions in (
        CONVENTIONS["inkpunk"],
        CONVENTIONS["diffusers"],
    ):  # to no noise, and to that of timestep 0
        *_, last = sample(gaussian, iter(noise), SCHEDULE, sampler="tcd", steps=4, conventions=conventions)
        assert last.index == 4


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ddpm", ("ddpm", None)),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++ 2m exponential", ("dpmpp_2m", "exponential")),
        (" DPM++ 2M SDE SGM Uniform ", ("dpmpp_2m_sde", "sgm_uniform")),
        ("k_euler_ancestral", ("euler_a", None)),
        ("dpmpp_2m_sde_gpu", ("dpmpp_2m_sde", None)),
        ("Euler Beta", ("euler", "beta_sigma")),
        ("Euler a", ("euler_a", None)),
        ("dpm_2_ancestral", ("dpm2_a", None)),
        ("HeunDiscreteScheduler", ("heun", None)),
    ],
)
def test_a_sampler_is_found_by_any_programs_name(asked: str, found: tuple[str, str | None]):
    assert find_sampler(asked) == found


@pytest.mark.parametrize("asked", ["", " karras", "karras", "dpmm", "euler  karras"])
def test_a_name_that_nobody_has_is_refused_with_those_there_are(asked: str):
    with pytest.raises(ValueError, match="there is none of that name; use ddpm, ddim, plms"):
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


@pytest.mark.parametrize(
    ("asked", "found"),
    [("Karras", "karras"), (" SGM Uniform", "sgm_uniform"), ("normal", "uniform"), ("Beta", "beta")],
)
def test_a_spacing_is_found_by_any_programs_name(asked: str, found: str):
    assert find_spacing(asked) == found  # our own name counts for more than another program's


def test_every_name_that_a_sampler_has_finds_it():
    for own, method in SAMPLERS.items():
        for name in filter(None, method.elsewhere):
            assert find_sampler(name) == (own, None)
    for alias, own in ALIASES.items():
        assert find_sampler(alias) == (own, None)


def test_an_unknown_spacing_is_refused():
    with pytest.raises(ValueError, match="spacing 'even': there is none of that name; use linspace, leading"):
        find_spacing("even")
