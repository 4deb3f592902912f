"""The kernels of convolution.c."""

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_winograd.native.library import functions, load
from inkpunk_winograd.native.room import ROOM
from inkpunk_winograd.native.team import Team, team_of
from inkpunk_winograd.native.threads import native_threads_for


class Work(ctypes.Structure):
    """What convolution.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "result", "tiles", "own")),
        *((name, ctypes.c_ssize_t) for name in ("batch", "height", "width", "channels", "out")),
        ("strides", ctypes.c_ssize_t * 4),
        *((name, ctypes.c_ssize_t) for name in ("pairs", "block")),
        ("team", Team),
    ]


def native_conv2d(
    pixels: Float[Tensor, "batch height width channels"],
    weight: Float[Tensor, "out channels 3 3"],
    bias: Float[Tensor, " out"] | None,
    *,
    pairs: int,
    memory: int,
) -> Float[Tensor, "batch height width out"]:
    """Convolve float32 pixels, contiguous and on the CPU, with kernels of any strides.

    Args:
        pixels: channels last.
        weight: the kernels.
        bias: contiguous.
        pairs: of interpolation points: `Filtering.pairs`.
        memory: bytes to work in, unless the least takes more: two megabytes a thread.

    Raises:
        RuntimeError: there are no kernels on this machine; it says why.
    """
    kernels = functions("convolution")
    batch, height, width, channels = pixels.shape
    result = pixels.new_empty(batch, height, width, weight.shape[0])
    work = Work(
        x=pixels.data_ptr(),
        weight=weight.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        result=result.data_ptr(),
        batch=batch,
        height=height,
        width=width,
        channels=channels,
        out=weight.shape[0],
        strides=(ctypes.c_ssize_t * 4)(*weight.stride()),
        pairs=pairs,
        team=team_of(native_threads_for(9.0 * batch * height * width * channels * weight.shape[0])),
    )
    room = ROOM.take(plan(work, memory // result.itemsize))
    work.own = room.data_ptr()
    kernels.inkpunk_winograd_run(ctypes.byref(work))
    return result


def plan(work: Work, limit: int) -> int:
    """Choose the block for work of these sizes; return how many float32 numbers it takes to work in."""
    kernels = functions("convolution")
    kernels.inkpunk_winograd_plan.restype = ctypes.c_ssize_t
    return kernels.inkpunk_winograd_plan(ctypes.byref(work), ctypes.c_ssize_t(limit))


def has_native_convolution(dtype: torch.dtype) -> bool:
    """Whether this machine has the kernels, for a dtype or for what it computes in: not for float64."""
    return dtype != torch.float64 and load("convolution").functions is not None
