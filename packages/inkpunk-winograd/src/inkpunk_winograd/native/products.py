"""The kernels of products.c: convolutions and matrix products with bfloat16 weights, whose sums are in float32."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor

from inkpunk_winograd.native.library import functions, load
from inkpunk_winograd.native.room import ROOM
from inkpunk_winograd.native.team import Team, team_of
from inkpunk_winograd.native.threads import native_threads_for

MULTIPLE = 32  # of channels, in and out, that the kernels work on at a time
DEPTHS = {
    1: 1024,
    3: 128,
}  # channels whose kernels a core's cache holds beside their pixels, by a kernel's side


class Work(ctypes.Structure):
    """What products.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "result", "packed", "own")),
        *((name, ctypes.c_ssize_t) for name in ("batch", "height", "width", "channels", "out", "side")),
        *((name, ctypes.c_ssize_t) for name in ("weight_stride", "depth", "doubled", "narrow", "tiles")),
        *((name, ctypes.c_ssize_t) for name in ("rows", "images", "to_pair", "to_row", "to_image")),
        ("team", Team),
    ]


def why_not_bfloat16() -> str | None:
    """Why products of bfloat16 are not faster than of float32 on this machine, in one line; None where they are."""
    if why := why_no_native_products():
        return why
    return None if has_tiles() else "this processor does not multiply bfloat16 by tiles (AMX)"


def why_no_native_products() -> str | None:
    """Why there are no native products of bfloat16 on this machine, in one line; None where there are."""
    if not _processor_has("_is_avx512_bf16_supported"):
        return "this processor does not multiply bfloat16 (AVX512_BF16)"
    return load("products").why_not


@cache
def has_tiles() -> bool:
    """Whether this processor multiplies by tiles (AMX), and the system lets this process do so."""
    return _processor_has("_is_amx_tile_supported") and _processor_has("_init_amx")


def _processor_has(question: str) -> bool:
    """What torch knows of the processor; not documented, and so asked for by name."""
    ask: Callable[[], Any] | None = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())


def native_products(
    pixels: Float[Tensor, "batch height width channels"],
    weight: BFloat16[Tensor, "out channels side side"],
    bias: Float[Tensor, " out"] | None,
    *,
    doubled: bool = False,
    tiles: bool = True,
) -> Float[Tensor, "batch out_height out_width out"]:
    """Convolve pixels, rounded to bfloat16, with kernels of 1 x 1 or 3 x 3, over a border of zeros.

    Args:
        pixels: float32 or bfloat16, contiguous and on the CPU; so is what is returned.
        weight: channels last in memory; channels in and out are multiples of `MULTIPLE`.
        bias: float32, contiguous.
        doubled: have each pixel stand for 2 x 2 of its kind; the result is twice as high and wide.
        tiles: multiply by tiles where the processor has them; else, and without, by vectors.

    Raises:
        RuntimeError: there are no kernels on this machine; it says why.
    """
    kernels = functions("products")
    batch, height, width, channels = pixels.shape
    height, width = height << doubled, width << doubled
    out, _, side, _ = weight.shape
    result = pixels.new_empty(batch, height, width, out)
    work = Work(
        x=pixels.data_ptr(),
        weight=weight.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        result=result.data_ptr(),
        batch=batch,
        height=height,
        width=width,
        channels=channels,
        out=out,
        side=side,
        weight_stride=weight.stride(0),
        depth=min(DEPTHS[side], channels),
        doubled=doubled,
        narrow=pixels.dtype is torch.bfloat16,
        tiles=tiles and has_tiles(),
        team=team_of(native_threads_for(float(side * side) * batch * height * width * channels * out / 4)),
    )
    kernels.inkpunk_products_plan.restype = ctypes.c_ssize_t
    room = ROOM.take(-(-kernels.inkpunk_products_plan(ctypes.byref(work)) // 4))
    work.own = room.data_ptr()
    kernels.inkpunk_products_run(ctypes.byref(work))
    return result
