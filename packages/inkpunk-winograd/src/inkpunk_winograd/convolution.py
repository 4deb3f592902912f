"""The convolution: tiles in, one batched matrix product, tiles out, in blocks that stay in the cache.

Here it is in torch's own operations; `native/` has the same in C, for float32.
"""

import torch
from jaxtyping import Float, Num
from torch import Tensor

from inkpunk_winograd.filtering import FILTERINGS, Filtering
from inkpunk_winograd.native.convolution import has_native_convolution, native_conv2d

BLOCK_BYTES = 36 << 20  # the transformed tiles that are worked on at once
PART_BYTES = 16 << 20  # the transformed kernels that meet them
MEMORY = 64 << 20  # what transforms may take


def winograd_conv2d(
    x: Num[Tensor, "batch channels height width"],
    weight: Float[Tensor, "out channels 3 3"],
    bias: Float[Tensor, " out"] | None = None,
    *,
    tile: int = 4,
    memory: int = MEMORY,
    native: bool = True,
) -> Float[Tensor, "batch out height width"]:
    """`torch.nn.functional.conv2d(x, weight, bias, padding=1)` in a quarter of the multiplications, or a half.

    Not differentiable: call it without gradients. Half precision computes in float32. The result is channels-last
    in memory; an input that is so too saves a copy.

    Args:
        x: of any height, width and strides, on a CPU.
        weight: the kernels.
        bias: added to every pixel.
        tile: the side of the tiles of output: 4 is fastest where there are many pixels, 2 where there are few.
        memory: bytes that the native kernels may work in, or that transformed kernels may take without them. The
            least that is worked with may take more: two megabytes a thread natively, and without, one output
            channel's kernels, 144 bytes for every input channel.
        native: use the kernels in C where they can be had, and not for float64.

    Raises:
        ValueError: a tile that is neither 2 nor 4, or whole numbers.
    """
    if tile not in FILTERINGS:
        raise ValueError(f"tile {tile}: must be one of {', '.join(map(str, FILTERINGS))}")
    if not x.is_floating_point():
        raise ValueError(f"{x.dtype} inputs: a convolution needs floating point; call .float() on them first")
    dtype = x.dtype
    compute = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    # NHWC: channels are the rows of the matrix products, and neighbours in memory
    pixels = x.detach().to(compute).permute(0, 2, 3, 1).contiguous()
    weight, bias = (
        weight.detach().to(compute),
        None if bias is None else bias.detach().to(compute).contiguous(),
    )
    filtering = FILTERINGS[tile]
    if native and has_native_convolution(compute):
        result = native_conv2d(pixels, weight, bias, pairs=len(filtering.pairs), memory=memory)
    else:
        result = _convolve(filtering, pixels, weight, memory)
        if bias is not None:
            result += bias
    return result.to(dtype).permute(0, 3, 1, 2)


def _convolve(filtering: Filtering, x: Tensor, weight: Tensor, memory: int) -> Tensor:
    batch, height, width, channels = x.shape
    out = weight.shape[0]
    tile = filtering.tile
    down, across = -(-height // tile), -(-width // tile)
    each = filtering.window**2 * channels * x.itemsize  # bytes of a tile, or of an output channel's kernels
    rows = max(1, BLOCK_BYTES // (each * batch * across))
    # Kernels that fit are transformed once; those that do not, again for every block. A single block takes them in
    # parts that stay in the cache, since it meets each only once.
    limit = min(memory, PART_BYTES) if rows >= down else memory
    part = max(1, min(out, limit // each))
    parts = [slice(start, start + part) for start in range(0, out, part)]
    kept = filtering.transform_kernels(weight) if len(parts) == 1 else None
    result = x.new_empty(batch, down, tile, across, tile, out)
    for top in range(0, down, rows):
        block = slice(top, min(top + rows, down))
        tiles = _gather(filtering, x, block, across)
        for some in parts:
            kernels = filtering.transform_kernels(weight[some]) if kept is None else kept
            products = torch.bmm(tiles.flatten(0, 1).flatten(1, 3), kernels.mT)
            _scatter(filtering, products.view(*tiles.shape[:-1], -1), result[:, block, :, :, :, some])
    whole = result.view(batch, down * tile, across * tile, out)
    return whole[:, :height, :width].contiguous()


def _gather(filtering: Filtering, x: Tensor, block: slice, across: int) -> Tensor:
    """The transforms of a block's tiles: [window, window, batch, rows, across, channels]."""
    batch, height, width, channels = x.shape
    tile, window = filtering.tile, filtering.window
    rows = block.stop - block.start
    first, last = block.start * tile - 1, block.stop * tile + 1
    if first < 0 or last > height:
        padded = x.new_zeros(batch, last - first, width, channels)
        inside = slice(max(first, 0), min(last, height))
        padded[:, inside.start - first : inside.stop - first] = x[:, inside]
        x, first = padded, 0
    # down the rows first; the columns left and right of the picture are zero, before and after
    columns = x.new_empty(window, batch, rows, across * tile + 2, channels)
    columns[..., 0, :] = 0
    columns[..., width + 1 :, :] = 0
    inside = columns[..., 1 : width + 1, :]
    stop = (rows - 1) * tile + 1
    filtering.transform_input(
        [x[:, first + i : first + i + stop : tile] for i in range(window)],
        inside.unbind(0),
        torch.empty_like(inside[0]),
    )
    tiles = x.new_empty(window, window, batch, rows, across, channels)
    stop = (across - 1) * tile + 1
    filtering.transform_input(
        [columns[..., j : j + stop : tile, :] for j in range(window)],
        tiles.unbind(1),
        torch.empty_like(tiles[:, 0]),
    )
    return tiles


def _scatter(filtering: Filtering, products: Tensor, result: Tensor) -> None:
    """Turn products [window, window, batch, rows, across, out] into [batch, rows, tile, across, tile, out]."""
    tile, pairs = filtering.tile, len(filtering.pairs)
    halfway = products.new_empty(tile, *products.shape[1:])
    scratch = products.new_empty(pairs, *products.shape[1:])
    filtering.transform_output(products.unbind(0), halfway.unbind(0), scratch.unbind(0))
    scratch = products.new_empty(pairs, tile, *products.shape[2:])
    by_column = result.permute(4, 2, 0, 1, 3, 5)  # [tile column, tile row, batch, rows, across, out]
    filtering.transform_output(halfway.unbind(1), by_column.unbind(0), scratch.unbind(0))
