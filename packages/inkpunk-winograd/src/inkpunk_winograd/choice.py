"""Where a convolution's way is chosen: what can be filtered at all, and for each input what is cheapest.

By a model of the work, not by the clock: the same picture takes the same way every time.
"""

from dataclasses import dataclass
from functools import cache

from torch import nn

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


# Fitted to measurements on two cores with AVX2, beside a multiply-add of the same convolutions.
DIRECT_CALL = 3e6
DIRECT_KERNEL_NUMBER = 20.0
# Fitted to measurements on two cores with AVX-512 (tools/benchmark_winograd); they err on the side of the direct way.
TORCH = Costs(product=1.4, tile_number=200.0, kernel_number=100.0, call=2e7)
NATIVE = Costs(product=1.3, tile_number=40.0, kernel_number=12.0, call=4e6, row=8, panel=32, block=128)


def direct_cost(
    batch: int, channels: int, out: int, height: int, width: int, *, turning: bool = False
) -> float:
    """Of computing every product; `turning` where torch has to turn the kernels channels last for it."""
    each = batch * height * width + (DIRECT_KERNEL_NUMBER if turning else 0.0)
    return KERNEL**2 * channels * out * each + DIRECT_CALL


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


@cache
def cheapest_tile(
    batch: int,
    channels: int,
    out: int,
    height: int,
    width: int,
    costs: Costs = TORCH,
    *,
    turning: bool = False,
) -> int | None:
    """The tile that makes a convolution cheapest, or None where the direct way is.

    Args:
        batch, channels, out, height, width: the convolution's sizes.
        costs: of the way that filtering would take.
        turning: whether torch would have to turn the kernels channels last.
    """
    if channels < LEAST_CHANNELS:
        return None
    sizes = (batch, channels, out, height, width)
    cost = {tile: winograd_cost(*sizes, tile=tile, costs=costs) for tile in FILTERINGS}
    best = min(cost, key=lambda tile: cost[tile])
    return best if cost[best] < direct_cost(*sizes, turning=turning) else None


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)


def why_not_filtered(module: nn.Module) -> str | None:
    """Why minimal filtering is nothing for a module, in a few words; None where it can be."""
    if type(module) is not nn.Conv2d:
        return f"a {type(module).__name__}, not exactly an nn.Conv2d"
    if module.kernel_size != (KERNEL, KERNEL):
        return f"its kernel is {'x'.join(map(str, module.kernel_size))}, not 3x3"
    if module.stride != (1, 1):
        return f"its stride is {_one_of(module.stride)}, not 1"
    if module.dilation != (1, 1):
        return f"it is dilated by {_one_of(module.dilation)}"
    if module.groups != 1:
        return f"it has {module.groups} groups"
    if module.padding not in ((1, 1), "same"):
        return f"its padding is {_one_of(module.padding)}, not 1"
    if module.padding_mode != "zeros":
        return f"its border is {module.padding_mode!r}, not of zeros"
    return None


def is_eligible(module: nn.Module) -> bool:
    """Whether a module is a plain 3x3 convolution of stride 1 with a border of zeros, undilated and ungrouped."""
    return why_not_filtered(module) is None


def _one_of(setting: tuple[int, ...] | str) -> str:
    if isinstance(setting, str):
        return repr(setting)
    return str(setting[0]) if len({*setting}) == 1 else str(setting)
