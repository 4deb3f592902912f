"""DPM-Solver++: exact where D is constant, so that its steps may be long (Lu et al. 2022, arXiv 2211.01095)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import exp, inf, log

from .euler import ancestral
from .protocol import Denoised, Draw, Latents


def dpmpp_2m(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Algorithm 2: D goes on as it went from the last step to this. The first and the last step are of order 1."""
    x0_before, h_before = None, inf
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        h = _length(sigma, lower)
        ahead = x0
        if lower and x0_before is not None:
            r = h_before / h
            ahead = x0 + (x0 - x0_before) / (2 * r)
        x = _toward(x, ahead, sigma, lower)
        x0_before, h_before = x0, h
        yield x, x0


def dpmpp_2s_a(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Algorithm 1 with r = 1/2, down past the next sigma, and noise that leads back up to it: see `ancestral`."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        down, up = ancestral(sigma, lower)
        ahead = x0
        if down:
            middle = sigma * exp(-_length(sigma, down) / 2)
            ahead = denoised(_toward(x, x0, sigma, middle), middle)
        x = _toward(x, ahead, sigma, down)
        if up:
            x = x + up * draw()
        yield x, x0


def _length(sigma: float, lower: float) -> float:
    """h: a step's length in lambda = -log sigma."""
    return log(sigma / lower) if lower else inf


def _toward(x: Latents, x0: Latents, sigma: float, lower: float) -> Latents:
    """From a sigma to a lower one, exactly where D is x0 all the way (eq. 14)."""
    return (lower / sigma) * x + (1 - lower / sigma) * x0
