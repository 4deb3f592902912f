"""Two predictions a step: at both ends of it, or at its beginning and in its middle."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from ..noise import Draw
from ..prediction import Latents
from .euler import ancestral
from .protocol import Denoised, States


def heun(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """Karras et al. 2022 (arXiv 2206.00364), Algorithm 1: the mean of the slopes at a step's two ends."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        slope = (x - x0) / sigma
        end = x + (lower - sigma) * slope
        if lower:
            slope = (slope + (end - denoised(end, lower)) / lower) / 2
            end = x + (lower - sigma) * slope
        x = end
        yield x, x0


def dpm2(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """DPM-Solver-2: Lu et al. 2022 (arXiv 2206.00927), Algorithm 1, as k-diffusion has it.

    The slope is taken at the geometric mean of a step's sigmas, the middle in lambda = -log sigma. To get there
    and to use it, k-diffusion goes straight in sigma, where the paper's steps are exponential; the order is the
    same.
    """
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        x = _midpoint(denoised, x, x0, sigma, lower)
        yield x, x0


def dpm2_a(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0) -> States:
    """`dpm2` down past the next sigma, and noise that leads back up to it: see `ancestral`."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        down, up = ancestral(sigma, lower, eta)
        x = _midpoint(denoised, x, x0, sigma, down)
        if up:
            x = x + up * draw(sigma, lower)
        yield x, x0


def _midpoint(denoised: Denoised, x: Latents, x0: Latents, sigma: float, lower: float) -> Latents:
    """A step along the slope of its middle; to 0, of its beginning."""
    slope = (x - x0) / sigma
    if lower:
        middle = sqrt(sigma * lower)
        there = x + (middle - sigma) * slope
        slope = (there - denoised(there, middle)) / middle
    return x + (lower - sigma) * slope
