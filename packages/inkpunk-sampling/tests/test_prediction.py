from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import PREDICTIONS, NoiseSchedule, read_prediction, sample, seeded_noise
from torch import Tensor

SCHEDULE = NoiseSchedule()
CLEAN_LATENTS, NOISE = torch.randn(
    2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
)


@pytest.mark.parametrize("kind", PREDICTIONS)
@given(timestep=st.floats(0, 999))
@settings(deadline=None)
def test_what_is_written_is_read(kind: str, timestep: float):
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    x = signal * CLEAN_LATENTS + noise * NOISE
    output = PREDICTIONS[kind].write(CLEAN_LATENTS, x, signal, noise)
    clean, eps = PREDICTIONS[kind].read(output, x, signal, noise)
    # rounding, over the smallest signal and the smallest noise (0.068 and 0.029)
    torch.testing.assert_close(clean, CLEAN_LATENTS, rtol=0, atol=1e-12)
    torch.testing.assert_close(eps, NOISE, rtol=0, atol=1e-12)


def test_v_is_the_velocity_of_its_paper():
    signal, noise = SCHEDULE.signal(500), SCHEDULE.noise(500)
    x = signal * CLEAN_LATENTS + noise * NOISE
    v = signal * NOISE - noise * CLEAN_LATENTS
    torch.testing.assert_close(PREDICTIONS["v"].write(CLEAN_LATENTS, x, signal, noise), v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "plms", "dpmpp_2m", "heun", "dpm2_a", "unipc", "lcm"])
def test_a_sampler_draws_the_same_whatever_the_model_predicts(sampler: str):
    def drawn(kind: str) -> Tensor:
        def model(latents: Tensor, timestep: float) -> Tensor:
            clean = torch.tanh(latents) * (1 - timestep / 2000)
            return PREDICTIONS[kind].write(
                clean, latents, SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
            )

        noise = (draw.double() for draw in seeded_noise([3], (4, 5, 5)))
        *_, last = sample(model, noise, SCHEDULE, sampler=sampler, steps=8, prediction=kind)
        return last.latents

    for kind in ("v", "sample"):
        torch.testing.assert_close(
            drawn(kind), drawn("epsilon"), rtol=0, atol=1e-10
        )  # rounding, at a sigma of 15


@pytest.mark.parametrize(
    ("told", "kind"), [("epsilon", "epsilon"), ("v_prediction", "v"), ("sample", "sample")]
)
def test_a_folders_prediction_is_read(told: str, kind: str):
    assert read_prediction({"prediction_type": told}) == kind
    assert read_prediction({}) == "epsilon"


@pytest.mark.parametrize("told", ["flow", "v", None, 3, ["epsilon"]])
def test_an_unknown_prediction_is_refused(told: object):
    with pytest.raises(ValueError, match="prediction_type"):
        read_prediction({"prediction_type": told})
    if isinstance(told, str) and told != "v":
        with pytest.raises(ValueError, match="unknown prediction 'flow': choose from epsilon, v, sample"):
            sample(lambda x, t: x, seeded_noise([1], (2,)), prediction=told)


# Zero-terminal SNR

ZERO = NoiseSchedule(zero_snr=True)


@given(steps=st.integers(2, 1500), start=st.floats(1e-5, 1e-2), width=st.floats(0, 0.3))
@settings(deadline=None)
def test_a_zero_snr_schedule_ends_without_signal_and_begins_as_before(steps: int, start: float, width: float):
    plain = NoiseSchedule(steps, start, start + width)
    zero = NoiseSchedule(steps, start, start + width, zero_snr=True)
    assert zero.signal(steps - 1) == 0 and zero.noise(steps - 1) == 1
    assert zero.signal(0) == pytest.approx(plain.signal(0), rel=1e-12)  # rounding
    bars = zero.alphas_cumprod
    assert all(high > low for high, low in pairwise(bars))
    assert zero.sigma(steps - 1) > zero.sigma(steps - 2)


def test_sigma_is_finite_where_there_is_no_signal():
    assert ZERO.sigma(999) == pytest.approx(4096, rel=1e-6)  # sqrt(2^24 - 1)
    assert ZERO.timestep(ZERO.sigma(999)) == 999


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "dpmpp_2m", "heun", "deis"])
@pytest.mark.parametrize("kind", ["v", "sample"])
def test_a_picture_is_drawn_from_pure_noise(sampler: str, kind: str):
    def model(latents: Tensor, timestep: float) -> Tensor:
        clean = torch.ones_like(latents)  # a model that has only ever seen this
        return PREDICTIONS[kind].write(clean, latents, ZERO.signal(timestep), ZERO.noise(timestep))

    *_, last = sample(
        model,
        seeded_noise([3], (4, 5, 5)),
        ZERO,
        sampler=sampler,
        steps=8,
        spacing="trailing",
        prediction=kind,
    )
    # float32 at a sigma of 4096 holds x_0 to 2e-4 at first; what remains at the end is much less
    torch.testing.assert_close(last.latents, torch.ones(1, 4, 5, 5), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("sampler", "kind"), [("ddim", "epsilon"), ("plms", "v")])
def test_what_cannot_begin_without_signal_is_refused_at_once(sampler: str, kind: str):
    with pytest.raises(ValueError, match="timestep 999 of a zero-SNR schedule holds no signal"):
        sample(lambda x, t: x, seeded_noise([3], (4,)), ZERO, sampler=sampler, steps=8, prediction=kind)


def test_a_zero_snr_schedule_of_one_step_is_refused():
    with pytest.raises(ValueError, match="give steps of at least 2"):
        NoiseSchedule(1, zero_snr=True)
