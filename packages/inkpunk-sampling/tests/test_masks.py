from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_sampling import (
    PREDICTIONS,
    SAMPLERS,
    NoiseSchedule,
    brownian_path,
    held,
    masked,
    sample,
    seeded_noise,
)
from torch import Tensor

SCHEDULE = NoiseSchedule()
SHAPE = (2, 3, 4)
KNOWN = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
NOISE = next(iter(seeded_noise([1, 2], SHAPE)))


def predict(latents: Tensor, timestep: float) -> Tensor:
    """Of each number by itself, so that what is held says nothing of what is free."""
    return torch.tanh(latents + timestep / 500)


def drawn(denoise: Callable[[Tensor, float], Tensor], sampler: str, **options: object) -> list[Tensor]:
    steps = sample(
        denoise,
        seeded_noise([1, 2], SHAPE),
        SCHEDULE,
        sampler=sampler,
        steps=6,
        brownian=brownian_path([1, 2], SHAPE, SCHEDULE),
        **options,  # pyright: ignore[reportArgumentType]
    )
    return [step.latents for step in steps]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(1, 50))
def test_more_change_is_held_for_fewer_steps(change: list[float], steps: int) -> None:
    each = torch.stack(
        [held(torch.tensor(change, dtype=torch.float64), step, steps) for step in range(steps)]
    )
    assert not (each[1:] & ~each[:-1]).any(), "what is free once stays free"
    last = 1 - (steps - 1) / steps  # 1 / steps, rounded as it is there
    assert torch.equal(each.all(0), torch.tensor([value < last for value in change])), "0 is never free"
    for value, column in zip(change, each.T, strict=True):
        assert abs(int((~column).sum()) - value * steps) < 1 + 1e-9  # 39 / 3 is rounded to less than 13
        assert value < 1 or not column.any(), "1 is never held"


@pytest.mark.parametrize("step", [-1, 3])
def test_a_step_that_there_is_not_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="of 3"):
        held(torch.zeros(1), step, 3)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_what_is_held_ends_as_it_is_known_and_the_rest_as_without(sampler: str, strength: float) -> None:
    where = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.5
    begun = {"start": KNOWN, "strength": strength} if strength < 1 else {}
    plain = drawn(predict, sampler, **begun)[-1]
    holding = masked(predict, KNOWN, NOISE, lambda timestep: where, SCHEDULE, from_noise=not begun)
    result = drawn(holding, sampler, **begun)[-1]
    assert (result - KNOWN)[:, where].abs().max() < 1e-5, "float32's rounding, over the steps"
    assert torch.equal(result[:, ~where], plain[:, ~where])


@pytest.mark.parametrize("sampler", [name for name, method in SAMPLERS.items() if not method.stochastic])
def test_a_deterministic_sampler_meets_what_the_model_is_shown(sampler: str) -> None:
    """Of its own latents, not yet replaced."""
    seen = list[Tensor]()
    holding = masked(predict, KNOWN, NOISE, lambda _: torch.tensor(True), SCHEDULE)

    def watched(latents: Tensor, timestep: float) -> Tensor:
        seen.append((latents - SCHEDULE.add_noise(KNOWN, NOISE, timestep)).abs().max())
        return holding(latents, timestep)

    drawn(watched, sampler, start=KNOWN, strength=0.7)
    assert max(seen) < 1e-5, "as above"


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_whatever_the_model_predicts(prediction: str) -> None:
    def model(latents: Tensor, timestep: float) -> Tensor:
        told = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
        clean = PREDICTIONS["epsilon"].read(predict(latents, timestep), latents, *told).clean
        return PREDICTIONS[prediction].write(clean, latents, *told)

    where = torch.arange(4) < 2
    holding = masked(model, KNOWN, NOISE, lambda _: where, SCHEDULE, prediction=prediction)
    result = drawn(holding, "euler", start=KNOWN, strength=0.5, prediction=prediction)[-1]
    assert (result - KNOWN)[..., where].abs().max() < 1e-4  # as above
    assert (result - KNOWN)[..., ~where].abs().max() > 0.1


def test_an_unknown_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="choose from"):
        masked(predict, KNOWN, NOISE, lambda _: torch.tensor(True), SCHEDULE, prediction="score")
