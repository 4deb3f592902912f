from decimal import Decimal, localcontext
from math import isclose

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import CLEAN, NoiseSchedule

SD_V1 = {  # the scheduler_config.json of Stable Diffusion v1.5, but for the keys that tell how to sample
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "trained_betas": None,
}

schedules = st.builds(
    lambda steps, betas, curve: NoiseSchedule(steps, min(betas), max(betas), curve),
    st.integers(1, 1200),
    st.tuples(st.floats(1e-5, 0.05), st.floats(1e-5, 0.05)),
    st.sampled_from(["scaled_linear", "linear"]),
)


@given(schedules)
@settings(deadline=None, max_examples=15)
def test_the_schedule_equals_fifty_digit_arithmetic(schedule: NoiseSchedule):
    with localcontext() as context:
        context.prec = 50
        start, end = Decimal(schedule.beta_start), Decimal(schedule.beta_end)
        root, last_root = start.sqrt(), end.sqrt()
        alpha_bar = Decimal(1)
        for t in range(schedule.steps):
            part = Decimal(t) / max(schedule.steps - 1, 1)
            if schedule.curve == "linear":
                beta = start + (end - start) * part
            else:
                beta = (root + (last_root - root) * part) ** 2
            alpha_bar *= 1 - beta
            # One rounding (2**-53) for the product and at most one for 1 - beta, a timestep.
            assert isclose(schedule.alphas_cumprod[t], float(alpha_bar), rel_tol=(t + 4) * 2**-52)
            assert isclose(schedule.betas[t], float(beta), rel_tol=1e-14)


@given(schedules)
@settings(deadline=None, max_examples=25)
def test_the_signal_fades_and_total_variance_stays_one(schedule: NoiseSchedule):
    path = range(CLEAN, schedule.steps)
    assert schedule.signal(CLEAN) == 1 and schedule.noise(CLEAN) == 0
    assert all(schedule.alpha_bar(t) > schedule.alpha_bar(t + 1) for t in path[:-1])
    assert all(isclose(schedule.signal(t) ** 2 + schedule.noise(t) ** 2, 1, rel_tol=1e-15) for t in path)


def test_the_defaults_are_stable_diffusion_v1():
    assert NoiseSchedule.from_diffusers(SD_V1) == NoiseSchedule()


def test_the_linear_curve_is_read_too():
    config = {**SD_V1, "beta_schedule": "linear", "num_train_timesteps": 500}
    assert NoiseSchedule.from_diffusers(config) == NoiseSchedule(500, curve="linear")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trained_betas", [0.1, 0.2]),
        ("prediction_type", "v_prediction"),
        ("rescale_betas_zero_snr", True),
        ("beta_schedule", "squaredcos_cap_v2"),
        ("beta_schedule", None),
        ("num_train_timesteps", "1000"),
        ("num_train_timesteps", None),
        ("beta_start", "small"),
        ("beta_start", None),
        ("beta_end", True),
    ],
)
def test_a_foreign_config_is_refused_by_the_key_at_fault(key: str, value: object):
    with pytest.raises(ValueError, match=f"scheduler config: {key} = "):
        NoiseSchedule.from_diffusers({**SD_V1, key: value})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"beta_start": 0.0}, "0 < beta_start"),
        ({"beta_start": 0.02}, "0 < beta_start"),
        ({"beta_end": 1.0}, "beta_end < 1"),
        ({"beta_end": float("nan")}, "beta_end < 1"),
        ({"curve": "cosine"}, "choose from scaled_linear, linear"),
    ],
)
def test_what_is_not_a_schedule_is_refused(wrong: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(**wrong)


@pytest.mark.parametrize("t", [-2, 1000])
def test_a_timestep_outside_the_schedule_is_refused(t: int):
    with pytest.raises(ValueError, match="from -1 to 999"):
        NoiseSchedule().alpha_bar(t)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_adding_noise_keeps_the_dtype(dtype: torch.dtype):
    latents, noise = torch.ones(2, 3, dtype=dtype), torch.full((2, 3), 2.0, dtype=dtype)
    noisy = NoiseSchedule().add_noise(latents, noise, 600)
    assert noisy.dtype == dtype
    expected = NoiseSchedule().signal(600) + 2 * NoiseSchedule().noise(600)
    assert noisy.double().numpy() == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps)


def test_adding_no_noise_returns_the_latents():
    latents, noise = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(NoiseSchedule().add_noise(latents, noise, CLEAN), latents)
