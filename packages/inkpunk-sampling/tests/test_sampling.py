import gc
import re
import weakref
from itertools import islice, pairwise
from math import sqrt
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import (
    CLEAN,
    SAMPLERS,
    Elsewhere,
    Method,
    NoiseSchedule,
    guide,
    sample,
    seeded_noise,
    timesteps,
)
from torch import Tensor

SHAPE = (4, 6, 5)


def denoise(latents: Tensor, timestep: float) -> Tensor:
    """Something that depends on both arguments and on every image alone."""
    return torch.tanh(latents * (1 + timestep / 1000))


def noise(*seeds: int):
    return seeded_noise(seeds, SHAPE)


@given(st.integers(1, 30), st.sampled_from(["linspace", "leading", "trailing"]))
@settings(deadline=None, max_examples=20)
def test_steps_count_from_one_to_total_down_the_timesteps(steps: int, spacing: str):
    states = list(sample(denoise, noise(1), steps=steps, spacing=spacing))
    assert [state.index for state in states] == list(range(1, steps + 1))
    assert {state.total for state in states} == {steps}
    assert tuple(state.timestep for state in states) == timesteps(NoiseSchedule(), steps, spacing)


def test_a_denoiser_gets_a_float_and_a_step_the_timestep_as_the_spacing_has_it(monkeypatch):
    def whole_and_between(model, x, path, draw):
        for t in path[:-1]:
            model(x, model.schedule.timestep(1.0))
            yield x, model(x, t).clean

    seen: list[object] = []

    def predict(latents: Tensor, timestep: float) -> Tensor:
        seen.append(timestep)
        return latents

    method = Method(whole_and_between, order=0, calls=2, cites="", elsewhere=Elsewhere())
    monkeypatch.setitem(SAMPLERS, "whole and between", method)
    for name in ("ddpm", "whole and between"):
        for model in (predict, guide(predict, 7.5)):
            written = [str(state.timestep) for state in sample(model, noise(1), steps=3, sampler=name)]
            assert written == ["999", "500", "0"]
    assert {type(timestep) for timestep in seen} == {float}


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_ddpm_draws_bit_for_bit_what_it_drew_when_timesteps_were_integers(spacing: str):
    abar = (*NoiseSchedule().alphas_cumprod, 1.0)  # CLEAN, -1, reads the last
    draws = noise(5)
    x = next(draws)
    states = sample(denoise, noise(5), steps=9, spacing=spacing)
    for t, s in pairwise((*timesteps(NoiseSchedule(), 9, spacing), CLEAN)):
        alpha = abar[t] / abar[s]
        x0 = (x - sqrt(1 - abar[t]) * denoise(x, t)) / sqrt(abar[t])
        x = sqrt(abar[s]) * (1 - alpha) / (1 - abar[t]) * x0 + sqrt(alpha) * (1 - abar[s]) / (1 - abar[t]) * x
        if s != CLEAN:
            x = x + sqrt((1 - abar[s]) / (1 - abar[t]) * (1 - alpha)) * next(draws)
        state = next(states)
        assert torch.equal(state.latents, x) and torch.equal(state.denoised, x0)


def test_the_last_step_ends_at_its_estimate_of_the_clean_latents():
    *_, last = sample(denoise, noise(1), steps=5)
    assert torch.equal(last.latents, last.denoised)


@given(st.permutations([11, 22, 33, 44]))
@settings(deadline=None, max_examples=10)
def test_a_seed_gives_the_same_trajectory_in_any_batch_and_order(seeds: list[int]):
    alone = [state.latents for state in sample(denoise, noise(33), steps=8)]
    place = seeds.index(33)
    together = [state.latents[place : place + 1] for state in sample(denoise, noise(*seeds), steps=8)]
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@given(st.integers(1, 40), st.floats(0.01, 1))
@settings(deadline=None, max_examples=20)
def test_image_to_image_runs_the_end_of_the_path_from_the_noised_start(steps: int, strength: float):
    kept = min(int(steps * strength), steps)
    if kept == 0:
        return
    start = torch.full((1, *SHAPE), 0.5)
    seen: list[tuple[Tensor, float]] = []

    def spy(latents: Tensor, timestep: float) -> Tensor:
        seen.append((latents, timestep))
        return denoise(latents, timestep)

    states = list(sample(spy, noise(7), steps=steps, start=start, strength=strength))
    path = timesteps(NoiseSchedule(), steps)[steps - kept :]
    assert [timestep for _, timestep in seen] == list(path) == [state.timestep for state in states]
    assert states[-1].index == states[-1].total == kept
    assert torch.equal(seen[0][0], NoiseSchedule().add_noise(start, next(noise(7)), path[0]))


def test_a_faint_strength_returns_nearly_the_start():
    start = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))

    def knows_the_start(latents: Tensor, timestep: float) -> Tensor:
        schedule = NoiseSchedule()
        return (latents - schedule.signal(timestep) * start) / schedule.noise(timestep)

    *_, last = sample(knows_the_start, noise(1), steps=20, start=start, strength=0.3)
    torch.testing.assert_close(last.latents, start, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("model_dtype", [torch.float16, torch.float32])
def test_latents_keep_the_noises_dtype_whatever_the_model_answers_in(dtype, model_dtype):
    def model(latents: Tensor, timestep: float) -> Tensor:
        assert latents.dtype == dtype
        return denoise(latents, timestep).to(model_dtype)

    for state in sample(model, (n.to(dtype) for n in noise(1)), steps=3):
        assert state.latents.dtype == state.denoised.dtype == dtype


def test_no_tensor_is_made_on_another_device_than_the_noises():
    for state in sample(denoise, (n.to("meta") for n in noise(1)), steps=3):
        assert state.latents.is_meta and state.denoised.is_meta


def test_as_many_draws_are_taken_as_there_are_steps_and_none_before_its_step():
    taken = 0

    def counted():
        nonlocal taken
        for drawn in noise(1):
            taken += 1
            yield drawn

    for state in sample(denoise, counted(), steps=6):
        # The initial noise, one for each step so far, but none for the last.
        assert taken == 1 + min(state.index, 5)


@pytest.mark.parametrize("enabled", [True, False])
def test_gradients_are_off_in_a_step_and_as_the_caller_left_them_outside(enabled: bool):
    weight = torch.ones((), requires_grad=True)

    def model(latents: Tensor, timestep: float) -> Tensor:
        assert not torch.is_grad_enabled()
        return denoise(latents, timestep) * weight

    with torch.set_grad_enabled(enabled):
        for state in sample(model, noise(1), steps=3, start=torch.ones(1, *SHAPE) * weight):
            assert torch.is_grad_enabled() == enabled
            assert not state.latents.requires_grad and not state.denoised.requires_grad
        assert torch.is_grad_enabled() == enabled


def test_results_can_take_part_in_training():
    *_, last = sample(denoise, noise(1), steps=2)
    weight = torch.ones((), requires_grad=True)
    (last.latents * weight).sum().backward()  # tensors made in inference mode would refuse
    assert weight.grad is not None


def test_stopping_early_leaves_nothing_behind():
    state, grad = torch.get_rng_state(), torch.is_grad_enabled()

    def own_denoise(latents: Tensor, timestep: float) -> Tensor:
        return denoise(latents, timestep)

    steps = sample(own_denoise, noise(1), steps=50)
    latents = weakref.ref(list(islice(steps, 3))[-1].latents)
    model = weakref.ref(own_denoise)
    del steps, own_denoise
    gc.collect()
    assert latents() is None and model() is None
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled() == grad


def test_an_error_in_the_model_comes_through_as_it_is():
    def broken(latents: Tensor, timestep: float) -> Tensor:
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match=r"^out of memory$"):
        next(sample(broken, noise(1)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sampler": "magic"}, "unknown sampler 'magic': choose from ddpm"),
        ({"steps": 0}, "0 steps: give 1 to 1000"),
        ({"steps": 1001}, "1001 steps: give 1 to 1000"),
        ({"spacing": "even"}, "unknown spacing 'even'"),
        ({"strength": 0.5}, "strength 0.5 without a start"),
        ({"strength": 0.0, "start": torch.zeros(1, *SHAPE)}, "more than 0 and at most 1"),
        ({"strength": 1.1, "start": torch.zeros(1, *SHAPE)}, "more than 0 and at most 1"),
        ({"strength": float("nan"), "start": torch.zeros(1, *SHAPE)}, "more than 0 and at most 1"),
        (
            {"strength": 0.01, "start": torch.zeros(1, *SHAPE)},
            "less than one step: raise strength above 1/50",
        ),
        ({"start": torch.zeros(1, 4, 6, 6)}, r"start has shape .*\[1, 4, 6, 6\].* but the initial noise"),
        ({"start": torch.zeros(1, *SHAPE).double()}, "start has dtype torch.float64 but"),
    ],
)
def test_bad_arguments_are_refused_when_sample_is_called(wrong, message):
    with pytest.raises(ValueError, match=message):
        sample(denoise, noise(1), **wrong)


def test_noise_that_is_empty_or_not_floating_is_refused_when_sample_is_called():
    with pytest.raises(ValueError, match="noise is empty"):
        sample(denoise, iter([]))
    with pytest.raises(ValueError, match=r"dtype torch.int64: give a floating"):
        sample(denoise, iter([torch.ones(1, 4, dtype=torch.int64)]))


def test_noise_that_runs_out_says_so():
    steps = sample(denoise, islice(noise(1), 3), steps=9)
    assert len(list(islice(steps, 2))) == 2
    with pytest.raises(ValueError, match="the noise ran out"):
        next(steps)


def test_step_noise_of_another_shape_is_refused():
    steps = sample(denoise, iter([torch.zeros(2, *SHAPE), torch.zeros(1, *SHAPE)]))
    with pytest.raises(ValueError, match="a draw of step noise has shape"):
        next(steps)


def test_a_prediction_that_would_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"denoise returned \[1, 4, 6, 5\] for latents \[2, 4, 6, 5\]"):
        next(sample(lambda latents, timestep: latents[:1], noise(1, 2)))


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert examples
    for example in examples:
        if "diffusers" not in example:  # which not every environment has: the root's tests run that
            exec(example, {})
    assert capsys.readouterr().out.startswith(
        "step 1 of 20 left timestep 999\nstep 2 of 20 left timestep 946\n"
    )
