"""Every sampler against diffusers' scheduler of the same method, over whole trajectories, with the same noise."""

import warnings
from collections.abc import Iterator
from math import sqrt
from typing import Any

import diffusers
import pytest
import torch
from inkpunk_sampling import CONVENTIONS, SAMPLERS, Conventions, NoiseSchedule, sample
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # they give numpy tensors
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
    "DDIMScheduler": {"clip_sample": False, "set_alpha_to_one": False},
    "PNDMScheduler": {"skip_prk_steps": True, "set_alpha_to_one": False},
    "DEISMultistepScheduler": {"solver_order": 3},
}
#: Some of them end at the noise of timestep 0, and some round timesteps.
CONVENTIONS_OF_ENDS = Conventions(
    ends=CONVENTIONS["diffusers"].ends, nearest_timestep=CONVENTIONS["diffusers"].nearest_timestep
)
#: Schedulers that keep latents at a variance of 1, as we do; the others keep x_0 + sigma eps.
VARIANCE_PRESERVING = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "LCMScheduler",
    "TCDScheduler",
)
MULTISTEP = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler")
DISTILLED = ("LCMScheduler", "TCDScheduler")
#: Schedulers that know no Karras sigmas, or ask for them at whole timesteps, as only Karras's are tested below.
WHOLE = VARIANCE_PRESERVING


def oracle(name: str) -> tuple[str, dict[str, Any]]:
    """The scheduler of a sampler, and what it must be told beside."""
    if name == "dpmpp_2m_sde":
        return "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}
    return SAMPLERS[name].elsewhere.diffusers, {}


def cases() -> Iterator[tuple[str, str]]:
    for name in SAMPLERS:
        scheduler, _ = oracle(name)
        if scheduler in DISTILLED:
            yield name, "lcm"
        elif scheduler:
            spacings = ["trailing"]
            if scheduler not in MULTISTEP:
                spacings.append("leading")  # of N + 1 steps there, the last left out
            if scheduler not in WHOLE and "Ancestral" not in scheduler:
                spacings += ["karras", "exponential"]
            if scheduler in MULTISTEP and name != "deis":  # which ends in a step of no length
                spacings.append("karras")
            yield from ((name, spacing) for spacing in spacings)


def model(latents: Tensor, timestep: float) -> Tensor:
    """A smooth function that is no denoiser at all, so that nothing cancels."""
    return torch.tanh(1.3 * latents) * (0.4 + timestep / 2000) + 0.1 * torch.roll(latents, 1, -1)


def offset_of(name: str, spacing: str) -> int:
    """Those that end at timestep 0 must not have been there before."""
    return int(spacing == "leading" and name in CONVENTIONS_OF_ENDS.ends)


def scheduler_of(name: str, spacing: str) -> Any:
    kind, more = oracle(name)
    options = {**OPTIONS.get(kind, {}), **more}
    if kind in DISTILLED:
        pass  # they have one spacing
    elif spacing in ("leading", "trailing"):
        options = {**options, "timestep_spacing": spacing, "steps_offset": offset_of(name, spacing)}
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
    if hasattr(scheduler, "noise_sampler"):
        scheduler.noise_sampler = lambda *_: next(draws)
    elif hasattr(module, "randn_tensor"):
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
    draws = iter(noise)
    states = [
        step.latents
        for step in sample(
            model,
            draws,
            SCHEDULE,
            sampler=name,
            steps=STEPS,
            spacing=spacing,
            offset=offset_of(name, spacing),
            brownian=lambda *_: next(draws),
            conventions=CONVENTIONS_OF_ENDS,
        )
    ]
    found = theirs(name, spacing, noise, monkeypatch)
    if name == "plms":
        found = found[1:]  # its first step takes two
    ends = found if method.calls == 1 else [*found[1::2], found[-1]]
    assert len(states) == len(ends) == STEPS
    for ours, other in zip(states, ends, strict=True):
        assert (ours - other).abs().max() <= EQUAL * other.abs().max()


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
@pytest.mark.parametrize(
    ("name", "spacing"), [("ddim", "trailing"), ("euler", "trailing"), ("dpmpp_2m", "trailing")]
)
def test_other_predictions_on_a_zero_snr_schedule(name: str, spacing: str, prediction: str) -> None:
    """From latents without any signal; its sigma there, 4096, is theirs."""
    kind = SAMPLERS[name].elsewhere.diffusers
    options = {**OPTIONS.get(kind, {}), "timestep_spacing": spacing, "prediction_type": prediction}
    scheduler = getattr(diffusers, kind)(**CONFIG, **options, rescale_betas_zero_snr=True)
    scheduler.set_timesteps(STEPS)
    noise = torch.randn(1, 2, 4, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    in_sigmas = kind not in VARIANCE_PRESERVING
    latents = noise[0] * (sqrt(1 + float(scheduler.sigmas[0]) ** 2) if in_sigmas else 1.0)
    schedule = NoiseSchedule(zero_snr=True)
    ours = sample(
        model,
        iter(noise),
        schedule,
        sampler=name,
        steps=STEPS,
        spacing=spacing,
        prediction={"v_prediction": "v", "sample": "sample"}[prediction],
        conventions=CONVENTIONS_OF_ENDS,
    )
    for t, step in zip(scheduler.timesteps, ours, strict=True):
        output = model(scheduler.scale_model_input(latents, t), float(t))
        latents = scheduler.step(output, t, latents, return_dict=False)[0]
        sigma = float(scheduler.sigmas[scheduler.step_index]) if in_sigmas else 0.0
        other = latents / sqrt(1 + sigma**2)
        assert (step.latents - other).abs().max() <= EQUAL * other.abs().max()
