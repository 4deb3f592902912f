"""Minimal filtering on every convolution that Stable Diffusion has."""

import pytest
import torch
import torch.nn.functional as F
from inkpunk_winograd import why_not_native, winograd_conv2d
from inkpunk_winograd.choice import NATIVE, TORCH, cheapest_tile

from tools.benchmark_winograd import Shape, shapes

TIMES_DIRECT = 3.0  # what the error may be of torch's own, of channels-last inputs as ours are
SHAPES = sorted({*shapes("unet", 64), *shapes("encoder", 64), *shapes("decoder", 64)})
ROWS = 32  # of an image and of outputs: the error of a part is that of the whole


@pytest.mark.slow
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def test_the_error_is_at_most_three_times_that_of_the_direct_way(shape: Shape, native: bool) -> None:
    tile = cheapest_tile(*shape, NATIVE if native else TORCH)
    if tile is None or (native and why_not_native()):
        pytest.skip("convolved directly")
    _, channels, out, height, width = shape
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, channels, min(height, ROWS), min(width, ROWS), generator=generator)
    weight = torch.randn(min(out, ROWS), channels, 3, 3, generator=generator) / (3 * channels**0.5)
    x, weight = (each.contiguous(memory_format=torch.channels_last) for each in (x, weight))
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    direct = float((F.conv2d(x, weight, padding=1) - exact).norm())
    ours = float((winograd_conv2d(x, weight, tile=tile, native=native) - exact).norm())
    assert ours <= TIMES_DIRECT * direct
