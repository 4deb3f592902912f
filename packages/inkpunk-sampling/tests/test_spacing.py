from itertools import pairwise
from math import atan, floor, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import SPACINGS, NoiseSchedule, timesteps
from scipy.stats import beta

WHOLE = ["linspace", "leading", "trailing"]


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    schedule_steps = draw(st.integers(1, 2000))
    return schedule_steps, draw(st.integers(1, min(schedule_steps, 300)))


@pytest.mark.parametrize("spacing", SPACINGS)
@given(counts())
@settings(deadline=None, max_examples=40)
def test_timesteps_descend_strictly_within_the_schedule(spacing: str, count: tuple[int, int]):
    schedule_steps, steps = count
    chosen = timesteps(NoiseSchedule(schedule_steps), steps, spacing)
    assert 1 <= len(chosen) <= steps
    assert len(chosen) == steps or spacing in ("beta", "ays", "lcm")  # which may find a timestep twice
    assert all(a > b for a, b in pairwise(chosen))
    assert chosen[-1] >= 0 and chosen[0] <= schedule_steps - 1


@given(counts())
@settings(deadline=None, max_examples=40)
def test_each_spacing_starts_and_ends_where_it_says(count: tuple[int, int]):
    schedule_steps, steps = count
    assert timesteps(NoiseSchedule(schedule_steps), steps, "trailing")[0] == schedule_steps - 1
    assert timesteps(NoiseSchedule(schedule_steps), steps, "leading")[-1] == 0
    assert timesteps(NoiseSchedule(schedule_steps), steps, "linspace")[-1] == 0
    if steps > 1:
        assert timesteps(NoiseSchedule(schedule_steps), steps, "linspace")[0] == schedule_steps - 1


@pytest.mark.parametrize("spacing", WHOLE)
def test_all_steps_are_all_timesteps(spacing: str):
    assert timesteps(NoiseSchedule(), 1000, spacing) == tuple(range(999, -1, -1))


def test_strides_that_divide_the_schedule_give_the_closed_forms():
    assert timesteps(NoiseSchedule(), 50, "leading") == tuple(range(980, -1, -20))
    assert timesteps(NoiseSchedule(), 50, "leading", offset=1) == tuple(range(981, 0, -20))
    assert timesteps(NoiseSchedule(), 50, "trailing") == tuple(range(999, 18, -20))
    assert timesteps(NoiseSchedule(), 28, "linspace") == tuple(range(999, -1, -37))


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
@given(counts())
@settings(deadline=None, max_examples=40)
def test_no_timestep_is_further_than_a_rounding_from_the_even_spread(spacing: str, count: tuple[int, int]):
    schedule_steps, steps = count
    for i, t in enumerate(timesteps(NoiseSchedule(schedule_steps), steps, spacing)):
        if spacing == "linspace":
            even = (schedule_steps - 1) * (steps - 1 - i) / max(steps - 1, 1)
        else:
            even = schedule_steps - i * schedule_steps / steps - 1
        assert abs(t - even) <= 0.5 + 1e-9  # the float noise of this line, not of the timesteps


@pytest.mark.parametrize("steps", [0, -3, 1001])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_number_of_steps_that_does_not_fit_is_refused(steps: int, spacing: str):
    with pytest.raises(ValueError, match=f"{steps} steps: give 1 to 1000"):
        timesteps(NoiseSchedule(), steps, spacing)


def test_an_unknown_spacing_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'even': choose from linspace, leading, trailing, uniform"):
        timesteps(NoiseSchedule(), 10, "even")


@pytest.mark.parametrize(("steps", "offset"), [(1000, 1), (10, -1), (1, 1000)])
def test_an_offset_that_leaves_the_schedule_is_refused(steps: int, offset: int):
    with pytest.raises(ValueError, match="outside 0 to 999"):
        timesteps(NoiseSchedule(), steps, "leading", offset)


def test_an_offset_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match='only "leading" takes an offset'):
        timesteps(NoiseSchedule(), 10, "linspace", 1)


SCALES = {"karras": lambda sigma: sigma ** (1 / 7), "exponential": log, "kl_optimal": atan}


@pytest.mark.parametrize("spacing", SCALES)
@given(counts())
@settings(deadline=None, max_examples=40)
def test_sigmas_fall_evenly_on_their_scale_from_end_to_end(spacing: str, count: tuple[int, int]):
    schedule, steps = NoiseSchedule(count[0]), count[1]
    path = timesteps(schedule, steps, spacing)
    assert path[0] == schedule.steps - 1
    assert steps == 1 or path[-1] == 0
    places = [SCALES[spacing](schedule.sigma(t)) for t in path]
    falls = [high - low for high, low in pairwise(places)]
    # 1e-9 of the whole: finding a timestep and its sigma again rounds twice
    assert all(abs(fall - falls[0]) <= 1e-9 * abs(places[0] - places[-1]) for fall in falls)


def test_karras_sigmas_are_those_of_the_paper():
    # eq. 5 with rho = 7, by hand for three steps: ((14.6146^(1/7) + 0.029168^(1/7)) / 2)^7
    _, middle, _ = timesteps(NoiseSchedule(), 3, "karras")
    assert NoiseSchedule().sigma(middle) == pytest.approx(
        ((14.6146 ** (1 / 7) + 0.029168 ** (1 / 7)) / 2) ** 7, rel=1e-4
    )


SD = NoiseSchedule()
STEPS = st.integers(1, 200)


@given(STEPS)
@settings(deadline=None)
def test_uniform_spacings_are_even_strides(steps: int):
    # 1e-9: the rounding of a stride, 200 times
    for i, t in enumerate(timesteps(SD, steps, "uniform")):
        assert t == pytest.approx(999 - 999 * i / max(steps - 1, 1), abs=1e-9)
    for i, t in enumerate(timesteps(SD, steps, "sgm_uniform")):
        assert t == pytest.approx(999 - 999 * i / steps, abs=1e-9)


@given(STEPS)
@settings(deadline=None)
def test_simple_takes_the_last_timesteps_of_even_parts(steps: int):
    assert timesteps(SD, steps, "simple") == tuple(999 - floor(i * 1000 / steps) for i in range(steps))


@given(STEPS)
@settings(deadline=None, max_examples=30)
def test_beta_spacings_are_quantiles_of_the_beta_distribution(steps: int):
    quantile = beta(0.6, 0.6).ppf
    places = quantile([1 - i / steps for i in range(steps)])
    assert timesteps(SD, steps, "beta") == tuple(dict.fromkeys(round(place * 999) for place in places))
    low, high = SD.sigma(0), SD.sigma(999)
    places = quantile([1 - i / max(steps - 1, 1) for i in range(steps)])
    for t, place in zip(timesteps(SD, steps, "beta_sigma"), places, strict=True):
        # a quantile to 1e-11 of a sigma up to 15, and a timestep there and back
        assert SD.sigma(t) == pytest.approx(low + place * (high - low), abs=1e-9)


def test_align_your_steps_is_the_published_table():
    sigmas = [SD.sigma(t) for t in timesteps(SD, 10, "ays")]
    published = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152]
    assert sigmas == pytest.approx(published, rel=1e-4)  # the first is a little above the trained ones
    # the authors' timesteps for SD v1.5, the nearest whole ones
    whole = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]
    assert [round(t) for t in timesteps(SD, 10, "ays")] == pytest.approx(whole, abs=1)


def test_between_its_entries_the_table_is_log_linear():
    twice = [log(SD.sigma(t)) for t in timesteps(SD, 20, "ays")]
    once = [log(SD.sigma(t)) for t in timesteps(SD, 10, "ays")]
    assert twice[::2] == pytest.approx(once, abs=1e-9)  # rounding
    assert twice[3] == pytest.approx((twice[2] + twice[4]) / 2, abs=1e-9)


def test_lcm_timesteps_are_those_of_distillation():
    assert timesteps(SD, 4, "lcm") == (
        999,
        759,
        499,
        259,
    )  # as its authors' and diffusers' scheduler has them
    assert timesteps(SD, 50, "lcm") == tuple(range(999, 0, -20))
