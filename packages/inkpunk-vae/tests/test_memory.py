from hypothesis import given
from hypothesis import strategies as st
from inkpunk_vae import VAEConfig, decode_memory

sides = st.integers(1, 512).map(lambda side: 8 * side)


@given(height=sides, width=sides, batch=st.integers(1, 4))
def test_half_the_precision_takes_half_the_memory(height: int, width: int, batch: int):
    whole = decode_memory(VAEConfig(), height, width, batch=batch)
    assert decode_memory(VAEConfig(), height, width, batch=batch, itemsize=2) == whole / 2


@given(width=sides, batch=st.integers(1, 4), rows=st.integers(1, 64))
def test_thin_strips_of_a_tall_image_take_less_than_the_whole(width: int, batch: int, rows: int):
    tiled = decode_memory(VAEConfig(), 1024, width, batch=batch, rows=rows)
    assert tiled < decode_memory(VAEConfig(), 1024, width, batch=batch)


@given(height=sides, rows=st.integers(1, 63))
def test_more_rows_never_take_less(height: int, rows: int):
    fewer, more = (decode_memory(VAEConfig(), height, 512, rows=count) for count in (rows, rows + 1))
    assert fewer <= more


def test_a_single_level_is_its_own_next():
    assert decode_memory(VAEConfig(widths=(128,)), 64, 64) > 0
