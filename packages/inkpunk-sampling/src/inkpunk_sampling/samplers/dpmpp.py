"""DPM-Solver++: exact where D is constant, so that its steps may be long (Lu et al. 2022, arXiv 2211.01095)."""

from collections.abc import Sequence
from itertools import pairwise
from math import exp, expm1, inf, log, sqrt

from ..noise import Draw
from ..prediction import Latents
from .euler import ancestral
from .protocol import Denoised, States


def dpmpp_2m(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """Algorithm 2: D goes on as it went from the last step to this. The first and the last step are of order 1."""
    return dpmpp_2m_sde(denoised, x, sigmas, draw, eta=0.0)


def dpmpp_2s_a(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0
) -> States:
    """Algorithm 1 with r = 1/2, down past the next sigma, and noise that leads back up to it: see `ancestral`."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        down, up = ancestral(sigma, lower, eta)
        ahead = x0
        if down:
            middle = sigma * exp(-_length(sigma, down) / 2)
            ahead = denoised(_toward(x, x0, sigma, middle), middle)
        x = _toward(x, ahead, sigma, down)
        if up:
            x = x + up * draw(sigma, lower)
        yield x, x0


def dpmpp_sde(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0
) -> States:
    """Algorithm 1 with r = 1/2, to its middle and to its end ancestrally, as in k-diffusion: see `ancestral`.

    The noise up to the middle is a part of the whole step's: both are increments of one Brownian path.
    """
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        ahead = x0
        if lower:
            middle = sqrt(sigma * lower)
            ahead = denoised(_ancestrally(x, x0, sigma, middle, draw, eta), middle)
        x = _ancestrally(x, ahead, sigma, lower, draw, eta)
        yield x, x0


def dpmpp_2m_sde(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0
) -> States:
    """SDE-DPM-Solver++(2M), the paper's solver for the SDE, in k-diffusion's midpoint kind; at eta 0 Algorithm 2."""
    x0_before, h_before = None, inf
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        h = _length(sigma, lower)
        ahead = x0
        if lower and x0_before is not None:
            r = h_before / h
            ahead = x0 + (x0 - x0_before) / (2 * r)
        x = _with_noise(x, ahead, sigma, lower, draw, eta)
        x0_before, h_before = x0, h
        yield x, x0


def dpmpp_3m_sde(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0
) -> States:
    """The same, with D as the last three predictions have it; k-diffusion's.

    Its weight of the second difference is half of what a parabola through the three would have, as in k-diffusion and
    the paper's code, so that without noise it is of order 2, too. Pictures are known by it, and so it stays.
    """
    history: list[tuple[float, Latents]] = []  # sigma and D, the latest first
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        history = [(sigma, x0), *history[:2]]
        x = _with_noise(x, x0, sigma, lower, draw, eta)
        if lower and len(history) > 1:
            h = _length(sigma, lower)
            steeper = (1 + eta) * h
            phi_2 = 1 + expm1(-steeper) / steeper  # what a slope of D adds to a step of length 1
            lengths = [_length(before, after) for (after, _), (before, _) in pairwise(history)]
            differences = [
                (after - before) / length
                for length, ((_, after), (_, before)) in zip(lengths, pairwise(history), strict=True)
            ]
            slope = differences[0]
            if len(history) > 2:
                bend = (differences[0] - differences[1]) / (lengths[0] + lengths[1])
                slope = slope + lengths[0] * bend
                x = x + (1 / 2 - phi_2 / steeper) * h**2 * bend
            x = x + phi_2 * h * slope
        yield x, x0


def _length(sigma: float, lower: float) -> float:
    """h: a step's length in lambda = -log sigma."""
    return log(sigma / lower) if lower else inf


def _toward(x: Latents, x0: Latents, sigma: float, lower: float) -> Latents:
    """From a sigma to a lower one, exactly where D is x0 all the way."""
    return (lower / sigma) * x + (1 - lower / sigma) * x0


def _ancestrally(x: Latents, x0: Latents, sigma: float, lower: float, draw: Draw, eta: float) -> Latents:
    """`_toward` further down, and noise that leads back up to `lower`."""
    down, up = ancestral(sigma, lower, eta)
    x = _toward(x, x0, sigma, down)
    return x + up * draw(sigma, lower) if up else x


def _with_noise(x: Latents, x0: Latents, sigma: float, lower: float, draw: Draw, eta: float) -> Latents:
    """Along the SDE to a lower sigma, exactly where D is x0 all the way; eta is how much noise it has."""
    kept = (lower / sigma) ** eta
    x = kept * (lower / sigma) * x + (1 - kept * lower / sigma) * x0
    noise = lower * sqrt(1 - kept**2)
    return x + noise * draw(sigma, lower) if noise else x
