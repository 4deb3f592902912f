"""For models distilled to reach x_0 in one prediction: each step goes all the way, and noise leads back."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from ..noise import Draw
from ..prediction import Latents
from ..schedule import CLEAN, Timestep
from .protocol import Model, States

SIGMA_DATA = 0.5  # of the boundary condition that latent consistency models were distilled with
SCALING = 10.0  # of the timestep in it


def lcm(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw) -> States:
    """Luo et al. 2023 (arXiv 2310.04378): multistep latent consistency sampling.

    The estimate of x_0 is c_skip(t) x_t + c_out(t) x_0, as the model was distilled: nearly x_0 itself, but close to
    timestep 0.
    """
    schedule = model.schedule
    for t, s in pairwise(path):
        scaled = SCALING * t
        c_skip = SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2)
        c_out = scaled / sqrt(scaled**2 + SIGMA_DATA**2)
        x0 = c_skip * x + c_out * model(x, t).clean
        x = schedule.signal(s) * x0
        if s != CLEAN:
            x = x + schedule.noise(s) * draw(schedule.sigma(t), schedule.sigma(s))
        yield x, x0


def tcd(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw, eta: float = 0.3) -> States:
    """Zheng et al. 2024 (arXiv 2402.19159), strategic stochastic sampling: down past the next timestep, and back.

    Down to s, (1 - gamma) of the next timestep, rounded down to a whole one as in their code. Gamma is eta here, 0 to
    1: 0 is DDIM, 1 is multistep consistency sampling.
    """
    schedule = model.schedule
    for t, after in pairwise(path):
        x0, eps = model(x, t)
        if after == CLEAN:
            x = x0
        else:
            s = int((1 - eta) * after) if eta else after
            x = schedule.signal(s) * x0 + schedule.noise(s) * eps
            part = schedule.alpha_bar(after) / schedule.alpha_bar(s)
            if part < 1:
                x = sqrt(part) * x + sqrt(1 - part) * draw(schedule.sigma(t), schedule.sigma(after))
        yield x, x0
