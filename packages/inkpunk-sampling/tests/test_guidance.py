from collections.abc import Callable
from itertools import islice
from math import inf, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import (
    Combine,
    Denoise,
    NoiseSchedule,
    classifier_free,
    guide,
    projected,
    rescaled,
    sample,
    seeded_noise,
    within,
)
from inkpunk_sampling.prediction import PREDICTIONS
from torch import Tensor

SCHEDULE = NoiseSchedule()
EPS = 2**-24  # a float32's rounding, relative
UNCONDITIONAL, CONDITIONAL = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).split(1)


def predict(latents: Tensor, timestep: float) -> Tensor:
    """Two different answers to the same latents, as a model gives under two prompts."""
    half = len(latents) // 2
    assert torch.equal(latents[:half], latents[half:])
    conditions = torch.cat([UNCONDITIONAL.expand(half, -1, -1, -1), CONDITIONAL.expand(half, -1, -1, -1)])
    return torch.sin(latents * conditions + timestep)


def conditional(latents: Tensor, timestep: float) -> Tensor:
    """The second of its answers."""
    return torch.sin(latents * CONDITIONAL + timestep)


LATENTS = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
WITHOUT, WITH = predict(torch.cat([LATENTS, LATENTS]), 500).chunk(2)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Unconditional, conditional and latents; two to four images of a few numbers each."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(2, 4)), *draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)))
    spread = draw(st.sampled_from([0.1, 1.0, 10.0]))
    first, second, latents = torch.randn(3, *shape, generator=generator).unbind()
    return first, second + spread * first, latents


def norms(tensor: Tensor) -> Tensor:
    """One an image."""
    return tensor.double().flatten(1).norm(dim=1)


def inner(one: Tensor, other: Tensor) -> Tensor:
    return (one.double() * other.double()).flatten(1).sum(1)


scales = st.floats(-5, 20)
timesteps = st.floats(0, 999)
kinds = st.sampled_from([*PREDICTIONS])


# -- Classifier-free -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("scale", [nan, inf])
def test_a_scale_that_is_no_number_is_refused(scale: float):
    for make in (lambda: guide(predict, scale), lambda: projected(scale, SCHEDULE)):
        with pytest.raises(ValueError, match="give a finite number"):
            make()


def test_a_model_that_answers_only_one_half_is_refused():
    with pytest.raises(ValueError, match=r"returned \[2, 3, 4, 4\] for doubled latents \[4, 3, 4, 4\]"):
        guide(lambda latents, timestep: latents[:2], 7.5)(LATENTS, 500)


# -- Every way to combine ------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[], Combine]] = {
    "classifier_free": lambda: classifier_free(7.5),
    "rescaled": lambda: rescaled(classifier_free(7.5), 0.7),
    "rescaled, v": lambda: rescaled(classifier_free(7.5), 0.7, SCHEDULE),
    "projected": lambda: projected(7.5, SCHEDULE),
    "rescaled, projected": lambda: rescaled(projected(7.5, SCHEDULE, threshold=0.5), 0.7),
}
ways = pytest.mark.parametrize("make", WAYS.values(), ids=WAYS)


@ways
def test_a_number_and_its_way_are_one_and_any_way_will_do(make: Callable[[], Combine]):
    plain = guide(predict, 7.5)(LATENTS, 500)
    assert torch.equal(plain, guide(predict, classifier_free(7.5))(LATENTS, 500))
    guided = guide(predict, make())(LATENTS, 500)
    assert torch.equal(guided, make()(WITHOUT, WITH, LATENTS, 500.0))
    assert torch.equal(guided, plain) is (make is WAYS["classifier_free"])


@ways
@given(inputs=predictions(), t=timesteps)
@settings(deadline=None, max_examples=15)
def test_each_image_is_guided_by_itself(
    make: Callable[[], Combine], inputs: tuple[Tensor, Tensor, Tensor], t: float
):
    together, apart = make(), [make() for _ in inputs[0]]
    for _ in range(2):  # the second time with whatever it remembers of the first
        whole = together(*inputs, t)
        single = torch.cat([one(*(each[i : i + 1] for each in inputs), t) for i, one in enumerate(apart)])
        # sums over an image may be taken in another order, and x_0 be large beside the prediction
        torch.testing.assert_close(whole, single, rtol=1e-5, atol=64 * EPS * float(whole.abs().max()))


@ways
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept_and_precise(make: Callable[[], Combine], dtype: torch.dtype):
    inputs = [each.to(dtype) for each in (WITHOUT, WITH, LATENTS)]
    guided = make()(*inputs, 700.0)
    assert guided.dtype == dtype
    exact = make()(*(each.double() for each in inputs), 700.0)
    # Rounded once where sums are in float32; classifier-free guidance is rounded up to three times.
    assert (guided.double() - exact).abs().max() <= 3 * torch.finfo(dtype).eps * exact.abs().max()


def test_images_may_be_single_numbers():
    first, second, latents = torch.randn(3, 5).unbind()
    for make in WAYS.values():
        guided = make()(first, second, latents, 500.0)
        assert guided.shape == (5,)
        assert torch.isfinite(guided).all()


# -- Rescaled ------------------------------------------------------------------------------------------------------


@given(predictions(), scales)
@settings(deadline=None, max_examples=30)
def test_phi_0_is_the_guidance_exactly_and_phi_1_has_the_conditionals_deviation(
    inputs: tuple[Tensor, Tensor, Tensor], scale: float
):
    plain = classifier_free(scale)
    assert torch.equal(rescaled(plain, 0.0)(*inputs, 500.0), plain(*inputs, 500.0))
    found, wanted = (
        each.double().flatten(1).std(1) for each in (rescaled(plain, 1.0)(*inputs, 500.0), inputs[1])
    )
    # two deviations in float32, of at most 64 numbers; their mean may be up to some tens of times the deviation
    assert ((found - wanted).abs() <= 256 * EPS * (wanted + norms(inputs[1]))).all()


@given(predictions(), scales, st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_rescaling_lengthens_each_image_by_one_factor_linear_in_phi(
    inputs: tuple[Tensor, Tensor, Tensor], scale: float, phi: float
):
    plain, none, full = (
        way(*inputs, 500.0)
        for way in (
            rescaled(classifier_free(scale), phi),
            classifier_free(scale),
            rescaled(classifier_free(scale), 1.0),
        )
    )
    expected = phi * full.double() + (1 - phi) * none.double()
    # each image's factor is at most the largest of these two, and is rounded a few times
    assert ((plain - expected).abs() <= 8 * EPS * (full.abs() + none.abs())).all()


@given(predictions(), scales, st.floats(0.05, 1), timesteps, kinds)
@settings(deadline=None, max_examples=30)
def test_with_a_schedule_it_is_v_that_is_rescaled_whatever_the_model_predicts(
    inputs: tuple[Tensor, Tensor, Tensor], scale: float, phi: float, t: float, kind: str
):
    first, second, x = (each.double() for each in inputs)
    told = x, SCHEDULE.signal(t), SCHEDULE.noise(t)
    # the same model, once as it predicts v and once as it predicts something else
    outputs = (PREDICTIONS[kind].write(PREDICTIONS["v"].read(v, *told).clean, *told) for v in (first, second))
    guided = rescaled(classifier_free(scale), phi, SCHEDULE, kind)(*outputs, x, t)
    expected = rescaled(classifier_free(scale), phi)(first, second, x, t)
    as_v = PREDICTIONS["v"].write(PREDICTIONS[kind].read(guided, *told).clean, *told)
    # double precision, of which going to x_0 and back loses a factor of 34 to the faintest noise, twice over
    torch.testing.assert_close(as_v, expected, rtol=0, atol=1e-11 * (1 + float(expected.abs().max())))


def test_a_constant_has_no_deviation_to_change():
    constant = torch.ones(2, 3, 4)
    guided = rescaled(classifier_free(7.5), 0.7)(constant, constant, constant, 500.0)
    assert torch.equal(guided, constant)


@pytest.mark.parametrize("phi", [-0.1, 1.1, nan])
def test_a_phi_outside_its_range_is_refused(phi: float):
    with pytest.raises(ValueError, match=r"give 0 \(none\) to 1"):
        rescaled(classifier_free(7.5), phi)


# -- Projected -----------------------------------------------------------------------------------------------------


def added(combine: Combine, inputs: tuple[Tensor, Tensor, Tensor], t: float, kind: str) -> Tensor:
    """What guidance adds to the conditional estimate of x_0, in double precision."""
    read = PREDICTIONS[kind].read
    _, conditional, latents = (each.double() for each in inputs)
    levels = SCHEDULE.signal(t), SCHEDULE.noise(t)
    guided = combine(*(each.double() for each in inputs), t)
    return read(guided, latents, *levels).clean - read(conditional, latents, *levels).clean


@given(predictions(), scales, timesteps, kinds)
@settings(deadline=None, max_examples=30)
def test_apg_that_keeps_and_limits_nothing_is_classifier_free(
    inputs: tuple[Tensor, Tensor, Tensor], scale: float, t: float, kind: str
):
    options: dict[str, Any] = {"eta": 1.0, "threshold": inf, "momentum": 0.0, "prediction": kind}
    guided = projected(scale, SCHEDULE, **options)(*inputs, t)
    expected = classifier_free(scale)(*(each.double() for each in inputs), t)
    # A few roundings of terms that are at most this large: nothing of x_0 comes in, whatever the noise.
    size = float(max(each.abs().max() for each in inputs))
    assert (guided - expected).abs().max() <= 8 * EPS * size * (abs(scale) + 2)


@given(predictions(), timesteps, kinds)
@settings(deadline=None, max_examples=30)
def test_scale_1_is_the_conditional_prediction_exactly_in_apg(
    inputs: tuple[Tensor, Tensor, Tensor], t: float, kind: str
):
    assert torch.equal(projected(1.0, SCHEDULE, prediction=kind)(*inputs, t), inputs[1])


@given(predictions(), timesteps, kinds)
@settings(deadline=None, max_examples=30)
def test_apg_parts_guidance_into_what_is_parallel_and_what_is_orthogonal(
    inputs: tuple[Tensor, Tensor, Tensor], t: float, kind: str
):
    read = PREDICTIONS[kind].read
    clean = read(inputs[1].double(), inputs[2].double(), SCHEDULE.signal(t), SCHEDULE.noise(t)).clean

    def with_eta(eta: float) -> Tensor:
        combine = projected(2.0, SCHEDULE, eta=eta, threshold=inf, momentum=0.0, prediction=kind)
        return added(combine, inputs, t, kind)

    whole, orthogonal = with_eta(1.0), with_eta(0.0)
    parallel = whole - orthogonal
    # in double precision; x_0 is up to 34 times the prediction's and that much the less precise
    tolerance = 1e-11 * (norms(clean) + norms(whole)) * (norms(clean) + norms(whole))
    assert (inner(orthogonal, clean).abs() <= tolerance).all()
    assert ((inner(parallel, clean).abs() - norms(parallel) * norms(clean)).abs() <= tolerance).all()
    torch.testing.assert_close(
        with_eta(0.3), orthogonal + 0.3 * parallel, rtol=0, atol=float(tolerance.max())
    )


@given(predictions(), timesteps, st.floats(0.01, 10))
@settings(deadline=None, max_examples=30)
def test_apg_adds_no_more_than_its_threshold_and_leaves_the_direction(
    inputs: tuple[Tensor, Tensor, Tensor], t: float, threshold: float
):
    limited, whole = (
        added(projected(2.0, SCHEDULE, eta=1.0, threshold=most, momentum=0.0), inputs, t, "epsilon")
        for most in (threshold, inf)
    )
    # double precision of x_0s, which the noise makes up to 15 times the predictions
    close = 1e-11 * (1 + norms(whole))
    assert ((norms(limited) - norms(whole).clamp(max=threshold)).abs() <= close).all()
    assert ((inner(limited, whole) - norms(limited) * norms(whole)).abs() <= close * (1 + norms(whole))).all()


def test_momentum_is_a_sum_over_one_run_and_starts_anew_with_each():
    combine = projected(2.0, SCHEDULE, eta=1.0, threshold=inf, momentum=-0.5)
    inputs = WITHOUT, WITH, LATENTS
    first, second, third = (added(combine, inputs, 500.0, "epsilon") for _ in range(3))
    # in double precision, of numbers that are not large
    torch.testing.assert_close(second, first - 0.5 * first, rtol=0, atol=1e-12)
    torch.testing.assert_close(third, first - 0.5 * second, rtol=0, atol=1e-12)
    anew = projected(2.0, SCHEDULE, eta=1.0, threshold=inf, momentum=-0.5)
    assert torch.equal(added(anew, inputs, 500.0, "epsilon"), first)


def test_a_run_of_another_shape_cannot_go_on_with_the_momentum():
    combine = projected(2.0, SCHEDULE)
    combine(WITHOUT, WITH, LATENTS, 500.0)
    with pytest.raises(ValueError, match="the momentum is of one run"):
        combine(WITHOUT[:1], WITH[:1], LATENTS[:1], 500.0)


def test_apg_under_a_sampler_that_asks_twice_a_step_gives_a_picture():
    noise = [*islice(seeded_noise([1, 2], (3, 4, 4)), 40)]
    ends = [
        [*sample(guide(predict, way), iter(noise), sampler=sampler, steps=6)][-1].latents
        for sampler in ("heun", "dpmpp_2s_a")
        for way in (7.5, projected(7.5, SCHEDULE, threshold=1.0))
    ]
    assert all(torch.isfinite(end).all() for end in ends)
    assert not torch.allclose(ends[0], ends[1])
    assert not torch.allclose(ends[2], ends[3])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"eta": nan}, "eta nan: give a finite number"),
        ({"threshold": 0.0}, "give a norm above 0"),
        ({"threshold": nan}, "give a norm above 0"),
        ({"momentum": -1.0}, "more than -1 and less than 1"),
        ({"prediction": "noise"}, "choose from epsilon, v, sample"),
    ],
)
def test_apg_refuses_what_it_cannot_do(options: dict[str, Any], line: str):
    with pytest.raises(ValueError, match=line):
        projected(7.5, SCHEDULE, **options)


# -- Within an interval --------------------------------------------------------------------------------------------


def limited(low: float, high: float, asked: list[tuple[int, float]] | None = None) -> Denoise:
    """Guided within an interval; what the model is asked is noted: images and timestep."""
    asked = [] if asked is None else asked

    def counted(model: Denoise) -> Denoise:
        def ask(latents: Tensor, timestep: float) -> Tensor:
            asked.append((len(latents), timestep))
            return model(latents, timestep)

        return ask

    return within(guide(counted(predict), 7.5), counted(conditional), SCHEDULE, low, high)


@given(timesteps)
@settings(deadline=None, max_examples=15)
def test_the_whole_interval_is_guidance_and_an_empty_one_none(t: float):
    assert torch.equal(limited(0.0, inf)(LATENTS, t), guide(predict, 7.5)(LATENTS, t))
    for empty in ((0.0, 0.0), (5.0, 5.0), (20.0, inf)):  # Stable Diffusion ends at 14.6
        assert torch.equal(limited(*empty)(LATENTS, t), conditional(LATENTS, t))


@given(st.integers(1, 998), st.integers(1, 998))
@settings(deadline=None, max_examples=30)
def test_the_lower_end_is_out_and_the_upper_end_in(one: int, other: int):
    first, last = sorted((one, other))
    asked: list[tuple[int, float]] = []
    denoise = limited(SCHEDULE.sigma(first), SCHEDULE.sigma(last), asked)
    for t in (first, first + 0.5, last, last + 0.5):
        denoise(LATENTS, t)
    inside = first < last
    doubled = 2 * len(LATENTS)
    expected = [
        len(LATENTS),
        doubled if inside else len(LATENTS),
        doubled if inside else len(LATENTS),
        len(LATENTS),
    ]
    assert [images for images, _ in asked] == expected


@pytest.mark.parametrize("sampler", ["ddpm", "heun"])
def test_outside_of_the_interval_the_model_sees_half_the_images(sampler: str):
    asked: list[tuple[int, float]] = []
    for _ in sample(limited(0.28, 5.42, asked), seeded_noise([1, 2], (3, 4, 4)), sampler=sampler, steps=10):
        pass
    assert {images for images, _ in asked} == {2, 4}
    for images, t in asked:
        assert images == (4 if 0.28 < SCHEDULE.sigma(t) <= 5.42 else 2)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 5.0), (5.0, 1.0), (nan, 1.0), (0.0, nan)])
def test_an_interval_that_is_none_is_refused(low: float, high: float):
    with pytest.raises(ValueError, match="give 0 <= low <= high"):
        limited(low, high)
