"""The chain that diffusion models were first trained for, and its relatives that step over timesteps."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from ..noise import Draw
from ..prediction import Latents
from ..schedule import Timestep
from .protocol import Model, States


def ddpm(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw) -> States:
    """Ancestral sampling: Ho, Jain & Abbeel 2020 (arXiv 2006.11239), Algorithm 2, variance beta~ (eq. 7).

    Generalised to a subsequence of timesteps: between t and the next one kept, s < t, the forward process is
    one step with alpha = alpha-bar_t / alpha-bar_s. A last step to no noise has no variance, so it draws none.
    """
    schedule = model.schedule
    for t, s in pairwise(path):
        abar_t, abar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
        alpha = abar_t / abar_s
        beta = 1 - alpha
        x0 = model(x, t).clean  # eq. 15
        x0_weight = sqrt(abar_s) * beta / (1 - abar_t)  # mean and variance of q(x_s | x_t, x_0): eq. 7
        x_weight = sqrt(alpha) * (1 - abar_s) / (1 - abar_t)
        variance = (1 - abar_s) / (1 - abar_t) * beta
        x = x0_weight * x0 + x_weight * x
        if variance:
            x = x + sqrt(variance) * draw(schedule.sigma(t), schedule.sigma(s))
        yield x, x0


def ddim(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw, eta: float = 0.0) -> States:
    """Song, Meng & Ermon 2020 (arXiv 2010.02502), eq. 12 and 16: eta 0 is deterministic, eta 1 draws DDPM's noise."""
    schedule = model.schedule
    for t, s in pairwise(path):
        x0, eps = model(x, t)
        abar_t, abar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
        variance = eta**2 * (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
        x = schedule.signal(s) * x0 + sqrt(1 - abar_s - variance) * eps
        if variance:
            x = x + sqrt(variance) * draw(schedule.sigma(t), schedule.sigma(s))
        yield x, x0


def plms(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw) -> States:
    """Pseudo linear multistep: Liu et al. 2022 (arXiv 2202.09778), Algorithm 2, begun as Stable Diffusion begins it.

    The weights of Adams and Bashforth, which are those of even steps, over DDIM's step for a line. The first step
    is taken twice, the second time with the mean of the noise at both of its ends.
    """
    history: list[Latents] = []
    for t, s in pairwise(path):
        x0, eps = model(x, t)
        history = [eps, *history[:3]]
        if len(history) > 1:
            weights = ADAMS_BASHFORTH[len(history)]
            eps = sum((w * e for w, e in zip(weights[1:], history[1:], strict=True)), weights[0] * eps)
        elif model.schedule.noise(s):
            eps = (eps + model(_along(model, x, eps, t, s), s).noise) / 2
        x = _along(model, x, eps, t, s)
        yield x, x0


ADAMS_BASHFORTH = {
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def _along(model: Model, x: Latents, eps: Latents, t: Timestep, s: Timestep) -> Latents:
    """DDIM's step from t to s, with this noise."""
    x0 = (x - model.schedule.noise(t) * eps) / model.schedule.signal(t)
    return model.schedule.signal(s) * x0 + model.schedule.noise(s) * eps
