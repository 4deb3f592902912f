"""Rescaled and projected guidance against diffusers' functions of the same papers."""

from typing import Any

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import NoiseSchedule, classifier_free, projected, rescaled
from inkpunk_sampling.prediction import PREDICTIONS
from torch import Tensor

SCHEDULE = NoiseSchedule()
seeds = st.integers(0, 2**31)


def inputs(seed: int, steps: int) -> Tensor:
    """Unconditional, conditional and latents for each step, as of images of unequal contrast."""
    generator = torch.Generator().manual_seed(seed)
    contrast = torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1)
    return contrast * torch.randn(steps, 3, 3, 4, 5, 6, generator=generator)


@given(seeds, st.floats(0, 20), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_rescaling_is_diffusers(seed: int, scale: float, phi: float) -> None:
    unconditional, conditional, latents = inputs(seed, 1)[0]
    guided = classifier_free(scale)(unconditional, conditional, latents, 500.0)
    ours = rescaled(classifier_free(scale), phi)(unconditional, conditional, latents, 500.0)
    theirs = rescale_noise_cfg(guided, conditional, phi)
    # float32: deviations of 120 numbers, and theirs rounds both terms of the mixture
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(guided.abs().max()))


@pytest.mark.parametrize("kind", PREDICTIONS)
@given(seeds, st.floats(0, 20), st.floats(0, 1), st.sampled_from([0.5, 5.0, 500.0]), st.floats(-0.9, 0))
@settings(deadline=None, max_examples=25)
def test_projecting_is_diffusers_on_the_estimates_of_x_0(
    kind: str, seed: int, scale: float, eta: float, threshold: float, momentum: float
) -> None:
    options: dict[str, Any] = {"eta": eta, "threshold": threshold, "momentum": momentum, "prediction": kind}
    ours, buffer = projected(scale, SCHEDULE, **options), MomentumBuffer(momentum)
    for t, (unconditional, conditional, latents) in zip(
        (900.0, 400.5, 20.0), inputs(seed, 3).double(), strict=True
    ):
        levels = SCHEDULE.signal(t), SCHEDULE.noise(t)

        def clean(output: Tensor, latents: Tensor = latents, levels: tuple[float, float] = levels) -> Tensor:
            return PREDICTIONS[kind].read(output, latents, *levels).clean

        theirs = normalized_guidance(
            clean(conditional),
            clean(unconditional),
            scale - 1,  # added to the conditional, as the paper has it
            buffer,
            eta,
            threshold,
            use_original_formulation=True,
        )
        guided = clean(ours(unconditional, conditional, latents, t))
        # double precision; x_0 at the highest noise is up to ten times the predictions
        torch.testing.assert_close(guided, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))
