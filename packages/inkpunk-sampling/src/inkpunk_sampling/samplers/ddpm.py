"""The chain that diffusion models were first trained for, and its deterministic relative."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import sqrt

from ..schedule import CLEAN, NoiseSchedule, Timestep
from .protocol import Denoise, Draw, Latents


def ddpm(
    denoise: Denoise, x: Latents, timesteps: Sequence[Timestep], schedule: NoiseSchedule, draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Ancestral sampling: Ho, Jain & Abbeel 2020 (arXiv 2006.11239), Algorithm 2, variance beta~ (eq. 7).

    Generalised to a subsequence of timesteps: between t and the next one kept, s < t, the forward process is
    one step with alpha = alpha-bar_t / alpha-bar_s. The last step has no variance, so it draws no noise.
    """
    for t, s in pairwise((*timesteps, CLEAN)):
        abar_t, abar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
        alpha = abar_t / abar_s
        beta = 1 - alpha
        eps = denoise(x, t)
        x0 = (x - sqrt(1 - abar_t) * eps) / sqrt(abar_t)  # eq. 15
        x0_weight = sqrt(abar_s) * beta / (1 - abar_t)  # mean and variance of q(x_s | x_t, x_0): eq. 7
        x_weight = sqrt(alpha) * (1 - abar_s) / (1 - abar_t)
        variance = (1 - abar_s) / (1 - abar_t) * beta
        x = x0_weight * x0 + x_weight * x
        if s != CLEAN:
            x = x + sqrt(variance) * draw()
        yield x, x0


def ddim(
    denoise: Denoise, x: Latents, timesteps: Sequence[Timestep], schedule: NoiseSchedule, draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Song, Meng & Ermon 2020 (arXiv 2010.02502), eq. 12 with sigma = 0, that is, eta = 0."""
    for t, s in pairwise((*timesteps, CLEAN)):
        eps = denoise(x, t)
        x0 = (x - schedule.noise(t) * eps) / schedule.signal(t)
        x = schedule.signal(s) * x0 + schedule.noise(s) * eps
        yield x, x0
