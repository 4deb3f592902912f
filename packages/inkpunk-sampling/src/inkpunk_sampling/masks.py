"""Masks: part of what is drawn is known already, and is held to it for as many of the steps as a map says.

A function around the denoiser; the sampler is not told.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .prediction import PREDICTIONS, Latents
from .samplers import Denoise
from .schedule import NoiseSchedule, Timestep


def held(change: Float[Tensor, "*shape"], step: int, steps: int) -> Bool[Tensor, "*shape"]:
    """What is held to the known at a step: all that may change in its last `change * steps` steps alone.

    Levin and Fried 2023, "Differential Diffusion" (arXiv 2306.00950), algorithm 1. Of a map of zeros and ones it is
    the zeros at every step (Lugmayr et al. 2022, RePaint, arXiv 2201.09865, without its resampling).

    Args:
        change: how much may change, from 0 (nothing) to 1 (all).
        step: counted from 0.
        steps: how many there are.

    Raises:
        ValueError: for a step that is not one of them.
    """
    if not 0 <= step < steps:
        raise ValueError(f"step {step} of {steps}: count them from 0")
    return change < 1 - step / steps


def masked(
    denoise: Denoise,
    known: Float[Tensor, "batch ..."],
    noise: Float[Tensor, "batch ..."],
    held: Callable[[float], Bool[Tensor, "..."]],
    schedule: NoiseSchedule,
    *,
    prediction: str = "epsilon",
    from_noise: bool = False,
) -> Denoise:
    """Hold part of the latents to what is known.

    There the model is shown the known latents with noise added as the timestep has it, and the sampler is told that
    the known latents are what it would find. A deterministic sampler walks from `known` with `noise` through just the
    latents that the model is shown. Make one for each run.

    Args:
        denoise: to wrap.
        known: clean latents.
        noise: standard-normal; the sampler's initial noise.
        held: a timestep to where the latents are held; broadcast to theirs.
        schedule: the noise schedule the model was trained with.
        prediction: what it predicts, a name in `PREDICTIONS`.
        from_noise: whether the sampler begins from noise alone: then its first timestep shows no more.

    Raises:
        ValueError: if the prediction is unknown.
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"unknown prediction {prediction!r}: choose from {', '.join(PREDICTIONS)}")
    write = PREDICTIONS[prediction].write
    first: float | None = None

    def with_known(latents: Latents, timestep: Timestep) -> Latents:
        nonlocal first
        first = timestep if first is None else first
        where = held(timestep)
        shown = latents
        if not (from_noise and timestep == first):
            shown = torch.where(where, schedule.add_noise(known, noise, timestep), latents)
        found = denoise(shown, timestep)
        signal, spread = schedule.signal(timestep), schedule.noise(timestep)
        return torch.where(where, write(known, latents, signal, spread), found)

    return with_known
