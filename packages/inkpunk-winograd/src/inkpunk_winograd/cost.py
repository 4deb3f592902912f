"""Which way of convolving is cheapest, by a model of the work: no clock, so the same picture takes the same way."""

from dataclasses import dataclass

from inkpunk_winograd.filtering import FILTERINGS, KERNEL

LEAST_CHANNELS = 32  # with fewer, little is won, and the direct way errs less than a third as much


@dataclass(frozen=True)
class Costs:
    """What a way of minimal filtering costs; the unit is a multiply-add of a direct convolution.

    Attributes:
        product: a multiply-add of the transformed tiles and kernels.
        tile_number: each number of a tile's transform, there and back; memory limits it, not the sums.
        kernel_number: each number of a kernel's transform.
        call: a call, whatever its size.
        row, panel: tiles and output channels are multiplied in multiples of so many.
        block: tiles that each transform of the kernels serves; None for all of them.
    """

    product: float
    tile_number: float
    kernel_number: float
    call: float
    row: int = 1
    panel: int = 1
    block: int | None = None


# Fitted to measurements on two cores with AVX-512 (tools/benchmark_winograd); they err on the side of the direct way.
TORCH = Costs(product=1.4, tile_number=200.0, kernel_number=100.0, call=2e7)
NATIVE = Costs(product=1.3, tile_number=40.0, kernel_number=12.0, call=2e6, row=8, panel=32, block=128)


def direct_cost(batch: int, channels: int, out: int, height: int, width: int) -> float:
    """Of computing every product."""
    return float(KERNEL**2 * batch * height * width * channels * out)


def winograd_cost(
    batch: int, channels: int, out: int, height: int, width: int, *, tile: int, costs: Costs
) -> float:
    """Of minimal filtering with tiles of this side."""
    window = FILTERINGS[tile].window ** 2
    tiles = batch * _ceil_div(height, tile) * _ceil_div(width, tile)
    outs = _ceil_div(out, costs.panel) * costs.panel
    products = costs.product * _ceil_div(tiles, costs.row) * costs.row * channels * outs
    blocks = _ceil_div(tiles, costs.block) if costs.block else 1
    transforms = costs.tile_number * tiles * (channels + out) + costs.kernel_number * blocks * channels * outs
    return window * (products + transforms) + costs.call


def cheapest_tile(
    batch: int, channels: int, out: int, height: int, width: int, costs: Costs = TORCH
) -> int | None:
    """The tile that makes a convolution cheapest, or None where the direct way is."""
    if channels < LEAST_CHANNELS:
        return None
    sizes = (batch, channels, out, height, width)
    cost = {tile: winograd_cost(*sizes, tile=tile, costs=costs) for tile in FILTERINGS}
    best = min(cost, key=lambda tile: cost[tile])
    return best if cost[best] < direct_cost(*sizes) else None


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)
