"""Every sampler against diffusers' scheduler of the same method, over whole trajectories, with the same noise."""

import warnings
from collections.abc import Iterator
from math import sqrt
from typing import Any

import diffusers
import pytest
import torch
from inkpunk_sampling import SAMPLERS, NoiseSchedule, sample
from torch import Tensor

SCHEDULE = NoiseSchedule()
STEPS = 20
EQUAL = 1e-4  # of the largest value: diffusers keeps sigmas and timesteps in float32
CONFIG: dict[str, Any] = {
    "beta_start": SCHEDULE.beta_start,
    "beta_end": SCHEDULE.beta_end,
    "beta_schedule": SCHEDULE.curve,
}
#: What each scheduler must be told to be what its paper says.
OPTIONS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": {"clip_sample": False},
    "DDIMScheduler": {"clip_sample": False, "set_alpha_to_one": True},
}
#: Schedulers that keep latents at a variance of 1, as we do; the others keep x_0 + sigma eps.
VARIANCE_PRESERVING = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
#: Schedulers whose Karras sigmas are asked for at whole timesteps, or that know none.
WHOLE = VARIANCE_PRESERVING


def cases() -> Iterator[tuple[str, str]]:
    for name, method in SAMPLERS.items():
        scheduler = method.elsewhere[2]
        if scheduler:
            spacings = ["trailing"]
            if scheduler != "DPMSolverMultistepScheduler":
                spacings.append("leading")  # of N + 1 steps there, the last left out
            if scheduler not in WHOLE and "Ancestral" not in scheduler:
                spacings += ["karras", "exponential"]
            yield from ((name, spacing) for spacing in spacings)


def model(latents: Tensor, timestep: float) -> Tensor:
    """A smooth function that is no denoiser at all, so that nothing cancels."""
    return torch.tanh(1.3 * latents) * (0.4 + timestep / 2000) + 0.1 * torch.roll(latents, 1, -1)


def scheduler_of(name: str, spacing: str) -> Any:
    kind = SAMPLERS[name].elsewhere[2]
    options = OPTIONS.get(kind, {})
    if spacing in ("leading", "trailing"):
        options = {**options, "timestep_spacing": spacing}
    else:
        options = {**options, "timestep_spacing": "linspace", f"use_{spacing}_sigmas": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = getattr(diffusers, kind)(**CONFIG, **options)
        scheduler.set_timesteps(STEPS)
    return scheduler


def theirs(name: str, spacing: str, noise: Tensor, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Latents after each of diffusers' predictions, at a variance of 1."""
    scheduler = scheduler_of(name, spacing)
    draws = iter(noise[1:])
    module = __import__(type(scheduler).__module__, fromlist=["randn_tensor"])
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(draws))
    in_sigmas = type(scheduler).__name__ not in VARIANCE_PRESERVING
    latents = noise[0] * (sqrt(1 + float(scheduler.sigmas[0]) ** 2) if in_sigmas else 1.0)
    found: list[Tensor] = []
    for t in scheduler.timesteps:
        prediction = model(scheduler.scale_model_input(latents, t), float(t))
        latents = scheduler.step(prediction, t, latents, return_dict=False)[0]
        sigma = float(scheduler.sigmas[scheduler.step_index]) if in_sigmas else 0.0
        found.append(latents / sqrt(1 + sigma**2))
    return found


@pytest.mark.parametrize(("name", "spacing"), [*cases()])
def test_every_step_is_diffusers(name: str, spacing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = SAMPLERS[name]
    noise = torch.randn(2 * STEPS + 1, 2, 4, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    states = [
        step.latents
        for step in sample(model, iter(noise), SCHEDULE, sampler=name, steps=STEPS, spacing=spacing)
    ]
    found = theirs(name, spacing, noise, monkeypatch)
    ends = found if method.calls == 1 else [*found[1::2], found[-1]]
    assert len(states) == len(ends) == STEPS
    for ours, other in zip(states, ends, strict=True):
        assert (ours - other).abs().max() <= EQUAL * other.abs().max()
