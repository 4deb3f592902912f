"""Our timesteps and DDPM against diffusers' DDPMScheduler, fed the same predictions and the same noise."""

import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import NoiseSchedule, Step, sample, timesteps
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of diffusers' own imports
    from diffusers import DDPMScheduler
    from diffusers.schedulers import scheduling_ddpm

BETA_START, BETA_END = 0.00085, 0.012
SHAPE = (2, 4, 3, 3)
EXACT = 1e-9
"""Of the largest value. What differs is the last step: diffusers keeps a variance of at least 1e-20 there,
noise of 1e-10, where the paper, and we, have none."""
spacings = pytest.mark.parametrize(
    ("spacing", "offset"), [("linspace", 0), ("leading", 0), ("leading", 1), ("trailing", 0)]
)
curves = pytest.mark.parametrize("curve", ["scaled_linear", "linear"])


def oracle(spacing: str, offset: int, curve: str, steps: int) -> DDPMScheduler:
    scheduler = DDPMScheduler(
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule=curve,
        variance_type="fixed_small",
        clip_sample=False,
        timestep_spacing=spacing,
        steps_offset=offset,
    )
    scheduler.set_timesteps(steps)
    # diffusers counts "trailing" with numpy.arange, which for some step counts runs one past the end, to -1.
    scheduler.timesteps = scheduler.timesteps[:steps]
    return scheduler


def in_double_precision(scheduler: DDPMScheduler, curve: str) -> DDPMScheduler:
    """Recompute the scheduler's tables by its own formulas in float64.

    It keeps them in float32, where 1 - alpha-bar near timestep 0 is the difference of numbers near 1 and has
    a relative error of up to 1e-4: that would hide everything this test is to see.
    """
    power = 0.5 if curve == "scaled_linear" else 1
    roots = torch.linspace(BETA_START**power, BETA_END**power, 1000, dtype=torch.float64)
    scheduler.betas = roots ** (1 / power)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, dim=0)
    return scheduler


class Recording:
    """Random model outputs, whatever the latents are, and random noise: one of each for every step."""

    def __init__(self, seed: int, steps: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.initial = torch.randn(SHAPE, generator=generator, dtype=dtype)
        self.predictions = torch.randn(steps, *SHAPE, generator=generator, dtype=dtype)
        self.draws = torch.randn(steps, *SHAPE, generator=generator, dtype=dtype)

    def theirs(
        self, scheduler: DDPMScheduler, latents: Tensor, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        draws = iter(self.draws)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: next(draws))
            for t, prediction in zip(scheduler.timesteps[skip:], self.predictions, strict=False):
                latents, denoised = scheduler.step(prediction, t, latents, return_dict=False)
                yield latents, denoised

    def ours(self, curve: str, **options: object) -> Iterator[Step]:
        predictions = iter(self.predictions)
        noise = iter([self.initial, *self.draws])
        schedule = NoiseSchedule(beta_start=BETA_START, beta_end=BETA_END, curve=curve)
        return sample(lambda latents, timestep: next(predictions), noise, schedule, **options)


def assert_the_same(ours: Iterator[Step], theirs: Iterator[tuple[Tensor, Tensor]], tolerance: float) -> None:
    for step, (latents, denoised) in zip(ours, theirs, strict=True):
        for mine, other in ((step.latents, latents), (step.denoised, denoised)):
            assert (mine - other).abs().max() <= tolerance * other.abs().max().clamp(min=1)


@spacings
def test_timesteps_are_equal_for_every_number_of_steps(spacing: str, offset: int):
    scheduler = oracle(spacing, offset, "linear", 1)
    for steps in range(1, 1001):
        if offset and steps == 1000:  # leaves the schedule: diffusers indexes past its tables, we refuse
            with pytest.raises(ValueError, match="outside 0 to 999"):
                timesteps(NoiseSchedule(), steps, spacing, offset)
            continue
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.tolist()
        # The arange of `oracle` again: "trailing" may have one too many, and it is then -1.
        assert theirs[steps:] in ([], [-1] if spacing == "trailing" else [])
        assert list(timesteps(NoiseSchedule(), steps, spacing, offset)) == theirs[:steps]


@curves
@spacings
@given(st.integers(1, 999), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=4)
def test_every_step_is_equal(spacing: str, offset: int, curve: str, steps: int, seed: int):
    recording = Recording(seed, steps, torch.float64)
    scheduler = in_double_precision(oracle(spacing, offset, curve, steps), curve)
    ours = recording.ours(curve, steps=steps, spacing=spacing, offset=offset)
    assert_the_same(ours, recording.theirs(scheduler, recording.initial), EXACT)


@curves
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_all_thousand_steps_are_equal(spacing: str, curve: str):
    recording = Recording(0, 1000, torch.float64)
    scheduler = in_double_precision(oracle(spacing, 0, curve, 1000), curve)
    ours = recording.ours(curve, steps=1000, spacing=spacing)
    assert_the_same(ours, recording.theirs(scheduler, recording.initial), EXACT)


@spacings
@given(st.integers(1, 200), st.floats(0.02, 1), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=6)
def test_image_to_image_is_equal(spacing: str, offset: int, steps: int, strength: float, seed: int):
    kept = min(int(steps * strength), steps)  # as in diffusers' image-to-image pipeline
    if kept == 0:
        return
    recording = Recording(seed, steps, torch.float64)
    scheduler = in_double_precision(oracle(spacing, offset, "scaled_linear", steps), "scaled_linear")
    start = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    first = scheduler.timesteps[steps - kept]
    latents = scheduler.add_noise(start, recording.initial, first[None])
    ours = recording.ours(
        "scaled_linear", steps=steps, spacing=spacing, offset=offset, start=start, strength=strength
    )
    assert_the_same(ours, recording.theirs(scheduler, latents, skip=steps - kept), EXACT)


@curves
@spacings
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=3)
def test_the_stock_scheduler_differs_by_its_float32_tables_alone(
    spacing: str, offset: int, curve: str, steps: int, seed: int
):
    recording = Recording(seed, steps, torch.float32)
    scheduler = oracle(spacing, offset, curve, steps)
    ours = recording.ours(curve, steps=steps, spacing=spacing, offset=offset)
    theirs = recording.theirs(scheduler, recording.initial)
    # A float32 table of numbers near 1 has errors of 2**-24 each. A step's beta, 1 - alpha-bar_t /
    # alpha-bar_s, and 1 - alpha-bar are at least BETA_START and come of up to three such roundings, so every
    # coefficient is off by at most 3 * 2**-24 / BETA_START = 2.1e-4 of itself, and so, relative to the
    # largest value, are the sums.
    assert_the_same(ours, theirs, 3 * 2**-24 / BETA_START)
