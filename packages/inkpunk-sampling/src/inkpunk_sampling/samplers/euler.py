"""One prediction a step, straight along the flow; and with noise, ancestrally."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from ..noise import Draw
from ..prediction import Latents
from .protocol import Denoised, States


def euler(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """Karras et al. 2022 (arXiv 2206.00364), Algorithm 1 without its second-order correction."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        slope = (x - x0) / sigma
        x = x + (lower - sigma) * slope
        yield x, x0


def euler_a(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw, eta: float = 1.0) -> States:
    """Euler steps down past the next sigma, and noise that leads back up to it: see `ancestral`."""
    for sigma, lower in pairwise(sigmas):
        x0 = denoised(x, sigma)
        down, up = ancestral(sigma, lower, eta)
        x = x + (down - sigma) * (x - x0) / sigma
        if up:
            x = x + up * draw(sigma, lower)
        yield x, x0


def ancestral(sigma: float, lower: float, eta: float) -> tuple[float, float]:
    """How far down to go from sigma, and how much noise to add, to arrive at a lower sigma.

    At eta 1 the noise has the variance of DDPM's posterior, Ho et al. 2020 (arXiv 2006.11239), eq. 7, told in sigmas,
    as in k-diffusion: up^2 = lower^2 (sigma^2 - lower^2) / sigma^2. Always down^2 + up^2 = lower^2.
    """
    up = min(eta * lower * sqrt(1 - (lower / sigma) ** 2), lower)
    return sqrt(lower**2 - up**2), up
