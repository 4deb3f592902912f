import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import guide, sample, seeded_noise
from torch import Tensor

UNCONDITIONAL, CONDITIONAL = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).split(1)


def predict(latents: Tensor, timestep: float) -> Tensor:
    """Two different answers to the same latents, as a model gives under two prompts."""
    half = len(latents) // 2
    assert torch.equal(latents[:half], latents[half:])
    conditions = torch.cat([UNCONDITIONAL.expand(half, -1, -1, -1), CONDITIONAL.expand(half, -1, -1, -1)])
    return torch.sin(latents * conditions + timestep)


LATENTS = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
WITHOUT, WITH = predict(torch.cat([LATENTS, LATENTS]), 500).chunk(2)


def test_scale_one_is_the_conditional_prediction_exactly():
    assert torch.equal(guide(predict, 1.0)(LATENTS, 500), WITH)


def test_scale_zero_is_the_unconditional_prediction_exactly():
    assert torch.equal(guide(predict, 0.0)(LATENTS, 500), WITHOUT)


@given(st.floats(-30, 30))
@settings(deadline=None, max_examples=40)
def test_the_result_is_linear_in_the_scale(scale: float):
    guided = guide(predict, scale)(LATENTS, 500)
    w = scale - 1  # Ho & Salimans, eq. 6
    expected = (1 + w) * WITH.double() - w * WITHOUT.double()
    # Predictions are at most 1, so the terms are at most |scale| + 1; a few float32 roundings of them.
    assert (guided - expected).abs().max() <= 4 * 2**-24 * (abs(scale) + 1) * 2


def test_equal_predictions_make_every_scale_the_same():
    predictions = torch.cat([WITH, WITH])
    assert torch.equal(guide(lambda latents, timestep: predictions, 7.5)(LATENTS, 0), WITH)


def test_the_model_is_called_once_a_step():
    timesteps = []

    def counted(latents: Tensor, timestep: float) -> Tensor:
        timesteps.append(timestep)
        return predict(latents, timestep)

    steps = list(sample(guide(counted, 7.5), seeded_noise([1, 2], (3, 4, 4)), steps=6))
    assert timesteps == [step.timestep for step in steps]


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_refused(scale: float):
    with pytest.raises(ValueError, match="give a finite number"):
        guide(predict, scale)


def test_a_model_that_answers_only_one_half_is_refused():
    with pytest.raises(ValueError, match=r"returned \[2, 3, 4, 4\] for doubled latents \[4, 3, 4, 4\]"):
        guide(lambda latents, timestep: latents[:2], 7.5)(LATENTS, 500)
