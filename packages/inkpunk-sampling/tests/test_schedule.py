from decimal import Decimal, localcontext
from itertools import pairwise
from math import ceil, cos, exp, floor, inf, isclose, log, nan, nextafter, pi, sqrt, ulp

import numpy as np
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


@st.composite
def timesteps(draw: st.DrawFn) -> tuple[NoiseSchedule, float]:
    """A schedule and a real timestep of it."""
    schedule = draw(schedules)
    return schedule, draw(st.floats(0, schedule.steps - 1))


def around(schedule: NoiseSchedule, t: float) -> tuple[float, float]:
    """Sigma at the trained timesteps on both sides of t."""
    return tuple(
        sqrt((1 - abar) / abar) for abar in (schedule.alphas_cumprod[i] for i in (floor(t), ceil(t)))
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
        ("rescale_betas_zero_snr", "yes"),
        ("beta_schedule", "squaredcos_cap_v2"),
        ("beta_schedule", None),
        ("num_train_timesteps", "1000"),
        ("num_train_timesteps", None),
        ("num_train_timesteps", 2**31),
        ("num_train_timesteps", 10**400),
        ("num_train_timesteps", 0),
        ("num_train_timesteps", 1000.5),
        ("num_train_timesteps", inf),
        ("beta_start", 10**400),
        ("beta_start", nan),
        ("beta_end", inf),
        ("beta_end", 1),
        ("clip_sample", True),
        ("clip_sample", "yes"),
        ("thresholding", True),
        ("variance_type", "fixed_large"),
        ("variance_type", "learned_range"),
        ("variance_type", ["fixed_small"]),
        ("use_flow_sigmas", True),
        ("timestep_type", "continuous"),
        ("snr_shift_scale", 3.0),
        ("beta_start", "small"),
        ("beta_start", None),
        ("beta_end", True),
    ],
)
def test_a_foreign_config_is_refused_by_the_key_at_fault(key: str, value: object):
    for named in ({}, {"_class_name": "DDPMScheduler"}, {"_class_name": ["PNDMScheduler"]}):
        with pytest.raises(ValueError, match=f"scheduler config: {key} = ") as refusal:
            NoiseSchedule.from_diffusers({**SD_V1, **named, key: value})
        assert str(refusal.value).isprintable() and len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "told",
    [
        {
            "_class_name": "PNDMScheduler",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "skip_prk_steps": True,
        },
        {"_class_name": "DDPMScheduler"},  # whose own default is to clip
        {
            "_class_name": "DDPMScheduler",
            "clip_sample": False,
            "variance_type": "fixed_small",
            "thresholding": False,
        },
        {"_class_name": "DPMSolverMultistepScheduler", "variance_type": None, "use_flow_sigmas": False},
        {"_class_name": "EulerDiscreteScheduler", "timestep_type": "discrete", "clip_sample": True},
        {
            "_class_name": "PNDMScheduler",
            "clip_sample": True,
            "thresholding": True,
            "variance_type": "fixed_large",
        },
        {"num_train_timesteps": 1000.0},
    ],
    ids=str,
)
def test_options_that_ask_for_nothing_are_accepted(told: dict[str, object]):
    assert NoiseSchedule.from_diffusers({**SD_V1, **told}) == NoiseSchedule()


@pytest.mark.parametrize("betas", [(1e-30, 1e-30), (0.9, 0.999)])
def test_a_zero_snr_schedule_beyond_double_precision_is_refused(betas: tuple[float, float]):
    with pytest.raises(ValueError, match="double precision"):
        NoiseSchedule(1000, *betas, zero_snr=True).sigma(0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "at least 1"),
        ({"steps": 2**31}, "more than 100000"),
        ({"steps": 10**400}, "more than 100000"),
        ({"beta_end": inf}, "beta_end < 1"),
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


@given(schedules)
@settings(deadline=None, max_examples=25)
def test_whole_timesteps_read_the_trained_values_bit_for_bit_and_come_back_whole(schedule: NoiseSchedule):
    for t, abar in enumerate(schedule.alphas_cumprod):
        for same in (t, float(t)):
            assert schedule.alpha_bar(same) == abar
            assert schedule.signal(same) == sqrt(abar)
            assert schedule.noise(same) == sqrt(1 - abar)
            assert schedule.sigma(same) == sqrt((1 - abar) / abar)
        back = schedule.timestep(schedule.sigma(t))
        assert back == t and type(back) is float


def test_clean_is_sigma_zero_both_ways():
    schedule = NoiseSchedule()
    for clean in (CLEAN, float(CLEAN)):
        assert (schedule.sigma(clean), schedule.noise(clean)) == (0, 0)
        assert schedule.signal(clean) == schedule.alpha_bar(clean) == 1
    for zero in (0.0, -0.0):
        assert schedule.timestep(zero) == CLEAN


@given(timesteps(), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_sigma_grows_with_the_timestep(drawn: tuple[NoiseSchedule, float], part: float):
    schedule, t = drawn
    sigmas = [schedule.sigma(u) for u in range(CLEAN, schedule.steps)]
    assert all(low < high for low, high in pairwise(sigmas))
    # Between two trained timesteps, up to the roundings of a quotient, a power and a product.
    assert schedule.sigma(part * t) <= schedule.sigma(t) * (1 + 4 * 2**-52)


@given(timesteps())
@settings(deadline=None, max_examples=60)
def test_between_trained_timesteps_log_sigma_is_linear(drawn: tuple[NoiseSchedule, float]):
    schedule, t = drawn
    low, high = around(schedule, t)
    part = t - floor(t)
    # Logarithms of up to some 30 in size, each rounded, and exp makes their error relative.
    assert isclose(schedule.sigma(t), exp((1 - part) * log(low) + part * log(high)), rel_tol=64 * 2**-52)


def test_halfway_between_two_trained_timesteps_sigma_is_their_geometric_mean():
    schedule = NoiseSchedule()
    for t in range(schedule.steps - 1):
        assert isclose(
            schedule.sigma(t + 0.5), sqrt(schedule.sigma(t) * schedule.sigma(t + 1)), rel_tol=4 * 2**-52
        )


@given(timesteps())
@settings(deadline=None, max_examples=60)
def test_signal_noise_and_alpha_bar_follow_from_sigma_between_trained_timesteps(
    drawn: tuple[NoiseSchedule, float],
):
    schedule, t = drawn
    sigma, signal, noise = schedule.sigma(t), schedule.signal(t), schedule.noise(t)
    assert isclose(signal**2 + noise**2, 1, rel_tol=4 * 2**-52)
    assert isclose(schedule.alpha_bar(t), signal**2, rel_tol=4 * 2**-52)
    assert isclose(noise / signal, sigma, rel_tol=8 * 2**-52)


def test_a_faint_noise_between_trained_timesteps_keeps_its_digits():
    schedule = NoiseSchedule(10, 1e-12, 1e-12)
    # 1 - alpha-bar, had it been taken here, would keep four digits.
    assert isclose(schedule.noise(0.5), schedule.sigma(0.5), rel_tol=1e-11)
    assert isclose(schedule.noise(0.5) / schedule.signal(0.5), schedule.sigma(0.5), rel_tol=4 * 2**-52)


@given(timesteps())
@settings(deadline=None, max_examples=60)
def test_a_timestep_comes_back_from_its_sigma(drawn: tuple[NoiseSchedule, float]):
    schedule, t = drawn
    low, high = around(schedule, t)
    # Sigma's few roundings, over the slope of log sigma, and the rounding of t itself.
    tolerance = 8 * 2**-52 / log(high / low) + ulp(t) if low < high else 0
    assert abs(schedule.timestep(schedule.sigma(t)) - t) <= tolerance


@given(schedules, st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_a_sigma_comes_back_from_its_timestep(schedule: NoiseSchedule, part: float):
    first, last = schedule.sigma(0), schedule.sigma(schedule.steps - 1)
    sigma = min(max(first * (last / first) ** part, first), last)
    t = schedule.timestep(sigma)
    low, high = around(schedule, t)
    # The rounding of t, times the slope of log sigma, and a few roundings of sigma.
    assert isclose(schedule.sigma(t), sigma, rel_tol=ulp(t) * log(high / low) + 8 * 2**-52)


@given(timesteps(), st.floats(1e-6, 1e6))
@settings(deadline=None, max_examples=60)
def test_sigmas_and_timesteps_are_k_diffusions(drawn: tuple[NoiseSchedule, float], sigma: float):
    schedule, t = drawn
    abar = np.array(schedule.alphas_cumprod)
    log_sigmas = np.log(((1 - abar) / abar) ** 0.5)
    trained = np.arange(schedule.steps)
    assert isclose(schedule.sigma(t), np.exp(np.interp(t, trained, log_sigmas)), rel_tol=1e-13)
    # np.interp, like DiscreteSchedule.sigma_to_t, stays at the first or the last beyond the ends. Their
    # logarithms, rounded to 2**-49 or so, leave a timestep uncertain by that over the slope.
    slope = np.diff(log_sigmas).min(initial=1)
    theirs = np.interp(np.log(sigma), log_sigmas, trained)
    assert abs(schedule.timestep(sigma) - theirs) <= 1e-14 / slope + 2 * ulp(1200)


@given(schedules, st.floats(0, inf, exclude_min=True))
@settings(deadline=None, max_examples=60)
def test_every_sigma_has_a_timestep_and_beyond_the_ends_it_is_the_end(schedule: NoiseSchedule, sigma: float):
    last = schedule.steps - 1
    for each in (sigma, *(nextafter(schedule.sigma(t), way) for t in (0, last) for way in (0, inf))):
        t = schedule.timestep(each)
        assert 0 <= t <= last and type(t) is float
        if each <= schedule.sigma(0):
            assert t == 0
        if each >= schedule.sigma(last):
            assert t == last


def test_a_schedule_of_a_single_step_has_one_sigma():
    schedule = NoiseSchedule(1)
    (abar,) = schedule.alphas_cumprod
    assert schedule.sigma(0) == schedule.sigma(0.0) == sqrt((1 - abar) / abar)
    assert [schedule.timestep(sigma) for sigma in (0.0, 1e-9, schedule.sigma(0), 5.0, inf)] == [
        CLEAN,
        0,
        0,
        0,
        0,
    ]
    with pytest.raises(ValueError, match="from -1 to 0"):
        schedule.sigma(0.5)


@pytest.mark.parametrize("t", [-2, 1000, -1.5, -0.5, -1e-300, nextafter(999, inf), 999.5, nan, inf, -inf])
@pytest.mark.parametrize("method", ["alpha_bar", "signal", "noise", "sigma"])
def test_what_is_not_a_timestep_is_refused(method: str, t: float):
    with pytest.raises(
        ValueError, match=f"timestep {t} is outside the schedule: give one from -1 to 999, and"
    ):
        getattr(NoiseSchedule(), method)(t)


@pytest.mark.parametrize("sigma", [nan, -1e-300, -1.0, -inf])
def test_what_is_not_a_sigma_is_refused(sigma: float):
    with pytest.raises(ValueError, match=f"sigma {sigma}: give 0 for clean or more"):
        NoiseSchedule().timestep(sigma)


@pytest.mark.parametrize("betas", [(1e-17, 1e-17), (0.9, 0.999)])  # alpha-bar stays 1, and ends at 0
def test_a_schedule_beyond_double_precision_keeps_its_trained_timesteps_but_has_no_sigmas(betas):
    schedule = NoiseSchedule(1000, *betas)
    assert schedule.alpha_bar(999) == schedule.alphas_cumprod[999]
    for ask in (lambda: schedule.sigma(5), lambda: schedule.timestep(1.0), lambda: schedule.signal(0.5)):
        with pytest.raises(ValueError, match="double precision"):
            ask()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("t", [600, 600.25])
def test_adding_noise_keeps_the_dtype(dtype: torch.dtype, t: float):
    latents, noise = torch.ones(2, 3, dtype=dtype), torch.full((2, 3), 2.0, dtype=dtype)
    noisy = NoiseSchedule().add_noise(latents, noise, t)
    assert noisy.dtype == dtype
    expected = NoiseSchedule().signal(t) + 2 * NoiseSchedule().noise(t)
    assert noisy.double().numpy() == pytest.approx(expected, rel=2 * torch.finfo(dtype).eps)


def test_adding_no_noise_returns_the_latents():
    latents, noise = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(NoiseSchedule().add_noise(latents, noise, CLEAN), latents)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "schedule",
    [
        NoiseSchedule(),
        NoiseSchedule(zero_snr=True),
        NoiseSchedule(1000, 0.0001, 0.02, "linear"),
        NoiseSchedule(1000, 0.0015, 0.0195, "scaled_linear"),
        NoiseSchedule(1000, 0.0015, 0.0195, "linear", zero_snr=True),
        NoiseSchedule(50, 0.02, 0.2, "linear"),
        NoiseSchedule(4000, 0.0002, 0.003, "scaled_linear"),
    ],
)
def test_a_schedule_is_found_by_its_alpha_bars(schedule: NoiseSchedule, dtype: torch.dtype) -> None:
    bars = torch.tensor(schedule.alphas_cumprod).to(dtype)
    found = NoiseSchedule.fitted(bars.double().tolist(), max(2**-15, torch.finfo(dtype).eps / 2))
    assert (found.steps, found.curve, found.zero_snr) == (schedule.steps, schedule.curve, schedule.zero_snr)
    if dtype == torch.float32:
        assert found == schedule  # by the numbers that were meant
    worst = max(abs(found.signal(t) - schedule.signal(t)) for t in range(schedule.steps))
    assert worst <= torch.finfo(dtype).eps


def test_what_stands_for_zero_at_the_end_is_zero() -> None:
    bars = [*NoiseSchedule(zero_snr=True).alphas_cumprod[:-1], 2.0**-24]
    assert NoiseSchedule.fitted(bars, 2**-15) == NoiseSchedule(zero_snr=True)


@pytest.mark.parametrize(
    "bars",
    [
        [],
        [0.5],
        [0.5, 0.9],
        [0.9, float("nan")],
        [1.5, 0.5],
        [0.9, -0.5],
        [0.0] * 1000,
        [1.0] * 1000,
        [cos((t + 1) / 1001 * pi / 2) ** 2 for t in range(1000)],
    ],
)
def test_alpha_bars_of_no_schedule_are_refused(bars: list[float]) -> None:
    with pytest.raises(ValueError, match="alpha-bars"):
        NoiseSchedule.fitted(bars, 2**-15)
