"""Which way of convolving is cheapest, by a model of the work: no clock, so the same picture takes the same way."""

from inkpunk_winograd.filtering import FILTERINGS, KERNEL

# The unit is a multiply-add of a direct convolution. The others were fitted to measurements on two cores with AVX-512
# (tools/benchmark_winograd); they err on the side of the direct way.
PRODUCT = 1.4  # a multiply-add of the batched matrix product: its matrices are narrow
TILE = 200.0  # each number of a tile's transform, there and back: the memory limits it, not the sums
KERNEL_NUMBER = 100.0  # each number of a kernel's transform
CALL = 2e7  # a call, whatever its size
LEAST_CHANNELS = 32  # with fewer, little is won, and the direct way errs less than a third as much


def direct_cost(batch: int, channels: int, out: int, height: int, width: int) -> float:
    """Of computing every product."""
    return float(KERNEL**2 * batch * height * width * channels * out)


def winograd_cost(batch: int, channels: int, out: int, height: int, width: int, tile: int) -> float:
    """Of minimal filtering with tiles of this side."""
    window = FILTERINGS[tile].window ** 2
    tiles = batch * -(-height // tile) * -(-width // tile)
    products = PRODUCT * tiles * channels * out
    transforms = TILE * tiles * (channels + out) + KERNEL_NUMBER * channels * out
    return window * (products + transforms) + CALL


def cheapest_tile(batch: int, channels: int, out: int, height: int, width: int) -> int | None:
    """The tile that makes a convolution cheapest, or None where the direct way is."""
    if channels < LEAST_CHANNELS:
        return None
    sizes = (batch, channels, out, height, width)
    best = min(FILTERINGS, key=lambda tile: winograd_cost(*sizes, tile))
    return best if winograd_cost(*sizes, best) < direct_cost(*sizes) else None
