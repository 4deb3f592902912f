import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd.cost import NATIVE, TORCH, Costs, cheapest_tile

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


@pytest.mark.parametrize("shape", [(2, 1280, 1280, 8, 8), (2, 2560, 1280, 16, 16), (1, 128, 128, 512, 512)])
def test_where_memory_decides_only_the_native_kernels_pay(shape: tuple[int, int, int, int, int]) -> None:
    assert cheapest_tile(*shape, TORCH) is None
    assert cheapest_tile(*shape, NATIVE) == 4
