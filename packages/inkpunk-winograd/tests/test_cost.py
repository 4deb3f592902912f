from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd.cost import cheapest_tile

sizes = st.integers(1, 2000)


@given(st.integers(1, 8), sizes, sizes, st.integers(1, 512), st.integers(1, 512))
def test_there_is_an_answer_for_every_shape(
    batch: int, channels: int, out: int, height: int, width: int
) -> None:
    assert cheapest_tile(batch, channels, out, height, width) in (None, 2, 4)


def test_large_pictures_take_large_tiles_and_small_problems_none() -> None:
    assert cheapest_tile(2, 320, 320, 64, 64) == 4
    assert cheapest_tile(1, 512, 512, 128, 128) == 4
    # transforming the kernels, or the tiles, would cost more than it saves
    assert cheapest_tile(2, 1280, 1280, 8, 8) is None
    assert cheapest_tile(2, 1280, 1280, 16, 16) is None
    assert cheapest_tile(1, 128, 128, 512, 512) is None
    assert cheapest_tile(1, 3, 64, 512, 512) is None
    assert cheapest_tile(1, 64, 64, 1, 1) is None
