from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inkpunk_winograd import convolution, winograd_conv2d
from inkpunk_winograd.choice import NATIVE, TORCH, cheapest_tile
from torch import Tensor

EXACT = 1e-11  # relative, in float64: thousands of roundings of 1e-16, magnified some ten times
TIMES_DIRECT = 3.0  # what the float32 error may be of the direct way's, of channels-last inputs as ours are

sides = st.integers(1, 21)
tiles = st.sampled_from([2, 4])


def problem(
    seed: int, batch: int, channels: int, out: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, kernels and biases in float64, of outputs of about unit variance."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(batch, channels, height, width), draw(out, channels, 3, 3) / (3 * channels**0.5), draw(out)


def error(result: Tensor, reference: Tensor) -> float:
    """Relative, over the whole result."""
    return float((result.double() - reference).norm() / reference.norm())


@given(
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 9),
    sides,
    sides,
    tiles,
    st.booleans(),
)
def test_it_is_a_convolution(
    seed: int, batch: int, channels: int, out: int, height: int, width: int, tile: int, biased: bool
) -> None:
    x, weight, bias = problem(seed, batch, channels, out, height, width)
    result = winograd_conv2d(x, weight, bias if biased else None, tile=tile)
    reference = F.conv2d(x, weight, bias if biased else None, padding=1)
    assert result.shape == reference.shape
    assert torch.allclose(result, reference, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("memory", [1, 5000, 40_000])
@pytest.mark.parametrize("block", [1, 100_000])
def test_blocks_change_nothing(memory: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = problem(0, 2, 10, 13, 27, 18)
    whole = winograd_conv2d(x, weight, bias)
    monkeypatch.setattr(convolution, "BLOCK_BYTES", block)
    assert torch.allclose(winograd_conv2d(x, weight, bias, memory=memory), whole, rtol=EXACT, atol=EXACT)


@pytest.mark.thorough
@pytest.mark.parametrize("native", [False, True])
@settings(max_examples=10, deadline=None)  # of real sizes: smaller ones are convolved directly
@given(
    st.integers(0, 99), st.integers(320, 400), st.integers(256, 320), st.integers(44, 64), st.integers(44, 64)
)
def test_float32_loses_at_most_three_times_what_the_direct_way_loses(
    native: bool, seed: int, channels: int, out: int, height: int, width: int
) -> None:
    tile = cheapest_tile(1, channels, out, height, width, NATIVE if native else TORCH)
    assume(tile is not None)
    x, weight, _ = problem(seed, 1, channels, out, height, width)
    x, weight = x.float().contiguous(memory_format=torch.channels_last), weight.float()
    reference = F.conv2d(x.double(), weight.double(), padding=1)
    direct = F.conv2d(x, weight, padding=1)
    result = winograd_conv2d(x, weight, tile=tile, native=native)
    assert error(result, reference) <= TIMES_DIRECT * error(direct, reference)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32(dtype: torch.dtype) -> None:
    x, weight, bias = (part.to(dtype) for part in problem(1, 1, 64, 8, 12, 12))
    result = winograd_conv2d(x, weight, bias)
    assert result.dtype == dtype
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert (result.double() - exact).abs().max() <= 1.01 * torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize(
    "strided",
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: torch.stack([x, x], -1)[..., 0],
        lambda x: x[:1].expand(2, -1, -1, -1),
    ],
)
def test_strides_do_not_matter(strided: Callable[[Tensor], Tensor]) -> None:
    x, weight, bias = problem(2, 2, 6, 5, 9, 11)
    x = x[:1].repeat(2, 1, 1, 1)
    result = winograd_conv2d(strided(x), weight, bias)
    assert torch.allclose(result, winograd_conv2d(x, weight, bias), rtol=EXACT, atol=EXACT)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_each_image_of_a_batch_is_its_own() -> None:
    x, weight, bias = problem(3, 3, 5, 4, 10, 10)
    together = winograd_conv2d(x, weight, bias)
    alone = torch.cat([winograd_conv2d(part, weight, bias) for part in x.split(1)])
    assert torch.allclose(together, alone, rtol=EXACT, atol=EXACT)


def test_the_inputs_stay_as_they_were() -> None:
    parts = problem(4, 1, 5, 4, 10, 10)
    before = [part.clone() for part in parts]
    winograd_conv2d(*parts)
    assert all(torch.equal(part, copy) for part, copy in zip(parts, before, strict=True))


def test_what_makes_no_sense_is_refused_in_one_line() -> None:
    x, weight, bias = problem(5, 1, 2, 2, 4, 4)
    with pytest.raises(ValueError, match="tile 3: must be one of 2, 4"):
        winograd_conv2d(x, weight, bias, tile=3)
    with pytest.raises(ValueError, match=r"call .float\(\)"):
        winograd_conv2d(x.int(), weight, bias)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("tile", [2, 4])
def test_one_infinite_number_touches_the_tiles_that_read_it_and_no_more(tile: int, native: bool) -> None:
    x, weight, bias = (part.float() for part in problem(6, 1, 3, 2, 24, 24))
    expected = winograd_conv2d(x, weight, bias, tile=tile, native=native)
    x[0, 1, 8, 8] = torch.inf  # a tile's first pixel, which those above and to the left read too
    touched = ~winograd_conv2d(x, weight, bias, tile=tile, native=native).isfinite()
    left = slice(8 - tile, 8 + tile)
    assert touched[..., left, left].any()
    touched[..., left, left] = False
    assert not touched.any()
    assert torch.equal(
        winograd_conv2d(x, weight, bias, tile=tile, native=native)[..., :4, :4], expected[..., :4, :4]
    )
