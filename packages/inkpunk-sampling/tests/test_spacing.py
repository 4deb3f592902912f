from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import timesteps

SPACINGS = ["linspace", "leading", "trailing"]


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    schedule_steps = draw(st.integers(1, 2000))
    return schedule_steps, draw(st.integers(1, schedule_steps))


@pytest.mark.parametrize("spacing", SPACINGS)
@given(counts())
@settings(deadline=None, max_examples=40)
def test_timesteps_descend_strictly_within_the_schedule(spacing: str, count: tuple[int, int]):
    schedule_steps, steps = count
    chosen = timesteps(schedule_steps, steps, spacing)
    assert len(chosen) == steps
    assert all(a > b for a, b in pairwise(chosen))
    assert chosen[-1] >= 0 and chosen[0] <= schedule_steps - 1


@given(counts())
@settings(deadline=None, max_examples=40)
def test_each_spacing_starts_and_ends_where_it_says(count: tuple[int, int]):
    schedule_steps, steps = count
    assert timesteps(schedule_steps, steps, "trailing")[0] == schedule_steps - 1
    assert timesteps(schedule_steps, steps, "leading")[-1] == 0
    assert timesteps(schedule_steps, steps, "linspace")[-1] == 0
    if steps > 1:
        assert timesteps(schedule_steps, steps, "linspace")[0] == schedule_steps - 1


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_steps_are_all_timesteps(spacing: str):
    assert timesteps(1000, 1000, spacing) == tuple(range(999, -1, -1))


def test_strides_that_divide_the_schedule_give_the_closed_forms():
    assert timesteps(1000, 50, "leading") == tuple(range(980, -1, -20))
    assert timesteps(1000, 50, "leading", offset=1) == tuple(range(981, 0, -20))
    assert timesteps(1000, 50, "trailing") == tuple(range(999, 18, -20))
    assert timesteps(1000, 28, "linspace") == tuple(range(999, -1, -37))


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
@given(counts())
@settings(deadline=None, max_examples=40)
def test_no_timestep_is_further_than_a_rounding_from_the_even_spread(spacing: str, count: tuple[int, int]):
    schedule_steps, steps = count
    for i, t in enumerate(timesteps(schedule_steps, steps, spacing)):
        if spacing == "linspace":
            even = (schedule_steps - 1) * (steps - 1 - i) / max(steps - 1, 1)
        else:
            even = schedule_steps - i * schedule_steps / steps - 1
        assert abs(t - even) <= 0.5 + 1e-9  # the float noise of this line, not of the timesteps


@pytest.mark.parametrize("steps", [0, -3, 1001])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_number_of_steps_that_does_not_fit_is_refused(steps: int, spacing: str):
    with pytest.raises(ValueError, match=f"{steps} steps: give 1 to 1000"):
        timesteps(1000, steps, spacing)


def test_an_unknown_spacing_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'karras': choose from linspace, leading, trailing"):
        timesteps(1000, 10, "karras")


@pytest.mark.parametrize(("steps", "offset"), [(1000, 1), (10, -1), (1, 1000)])
def test_an_offset_that_leaves_the_schedule_is_refused(steps: int, offset: int):
    with pytest.raises(ValueError, match="outside 0 to 999"):
        timesteps(1000, steps, "leading", offset)


def test_an_offset_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match='only "leading" takes an offset'):
        timesteps(1000, 10, "linspace", 1)
