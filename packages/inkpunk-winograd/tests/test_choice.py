import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd.choice import NATIVE, TORCH, Costs, cheapest_tile, is_eligible, why_not_filtered
from torch import nn

sizes = st.integers(1, 2000)
both = pytest.mark.parametrize("costs", [TORCH, NATIVE])


@both
@given(st.integers(1, 8), sizes, sizes, st.integers(1, 512), st.integers(1, 512))
def test_there_is_an_answer_for_every_shape(
    costs: Costs, batch: int, channels: int, out: int, height: int, width: int
) -> None:
    assert cheapest_tile(batch, channels, out, height, width, costs) in (None, 2, 4)


@both
def test_large_pictures_take_large_tiles_and_small_problems_none(costs: Costs) -> None:
    assert cheapest_tile(2, 320, 320, 64, 64, costs) == 4
    assert cheapest_tile(1, 512, 512, 128, 128, costs) == 4
    assert cheapest_tile(1, 3, 64, 512, 512, costs) is None
    assert cheapest_tile(1, 64, 64, 1, 1, costs) is None
    assert cheapest_tile(2, 320, 4, 64, 64, costs) is None  # mostly transforms


def test_kernels_that_torch_would_have_to_turn_are_rather_filtered() -> None:
    small = (2, 192, 192, 4, 4)  # as many pixels as a mid block of a small model has
    assert cheapest_tile(*small, NATIVE) is None
    assert cheapest_tile(*small, NATIVE, turning=True) == 2
    assert cheapest_tile(*small, TORCH, turning=True) is None


@pytest.mark.parametrize("shape", [(2, 1280, 1280, 8, 8), (2, 2560, 1280, 16, 16), (1, 128, 128, 512, 512)])
def test_where_memory_decides_only_the_native_kernels_pay(shape: tuple[int, int, int, int, int]) -> None:
    assert cheapest_tile(*shape, TORCH) is None
    assert cheapest_tile(*shape, NATIVE) == 4


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), None),
        (nn.Conv2d(4, 4, 3, padding="same"), None),
        (nn.Conv2d(4, 4, 1), "its kernel is 1x1, not 3x3"),
        (nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), "its kernel is 3x1, not 3x3"),
        (nn.Conv2d(4, 4, 3, padding=1, stride=2), "its stride is 2, not 1"),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2), "it is dilated by 2"),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), "it has 2 groups"),
        (nn.Conv2d(4, 4, 3), "its padding is 0, not 1"),
        (nn.Conv2d(4, 4, 3, padding="valid"), "its padding is 'valid', not 1"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "its border is 'circular', not of zeros"),
        (nn.ConvTranspose2d(4, 4, 3, padding=1), "a ConvTranspose2d, not exactly an nn.Conv2d"),
        (type("Own", (nn.Conv2d,), {})(4, 4, 3, padding=1), "a Own, not exactly an nn.Conv2d"),
    ],
)
def test_only_plain_convolutions_are_eligible_and_others_hear_why(layer: nn.Module, why: str | None) -> None:
    assert why_not_filtered(layer) == why
    assert is_eligible(layer) is (why is None)
