"""The kernels of native.c, and the memory they work in."""

import ctypes
import threading
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_winograd.building import COMPILERS, build_library


class Work(ctypes.Structure):
    """What native.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "result", "tiles", "own")),
        *((name, ctypes.c_long) for name in ("batch", "height", "width", "channels", "out")),
        ("strides", ctypes.c_long * 4),
        *((name, ctypes.c_long) for name in ("pairs", "threads", "block")),
    ]


class Room(threading.local):
    """Memory to work in, which each thread keeps: asking the system for it anew would take longer than using it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers = torch.empty(0)

    def take(self, count: int) -> Tensor:
        """At least so many float32 numbers, whose values are of no meaning."""
        if self._numbers.numel() < count:
            self._numbers = torch.empty(0)  # let go of the old before asking for the new
            with torch.device("cpu"):
                self._numbers = torch.empty(count)
        return self._numbers


_room = Room()


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
        RuntimeError: there is no library.
    """
    loaded = library()
    if loaded is None:
        raise RuntimeError(f"no native kernels: they need one of {', '.join(COMPILERS)}, with OpenMP")
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
        strides=(ctypes.c_long * 4)(*weight.stride()),
        pairs=pairs,
        threads=torch.get_num_threads(),
    )
    room = _room.take(loaded.inkpunk_winograd_plan(ctypes.byref(work), memory // result.itemsize))
    work.own = room.data_ptr()
    loaded.inkpunk_winograd_run(ctypes.byref(work))
    return result


def has_native(dtype: torch.dtype) -> bool:
    """Whether there are kernels for a dtype, or for what it computes in."""
    return dtype != torch.float64 and library() is not None


@cache
def library() -> ctypes.CDLL | None:
    """The kernels; None where they cannot be built."""
    loaded = build_library(Path(__file__).with_name("native.c"))
    if loaded is not None:
        loaded.inkpunk_winograd_plan.argtypes = [ctypes.POINTER(Work), ctypes.c_long]
        loaded.inkpunk_winograd_plan.restype = ctypes.c_long
        loaded.inkpunk_winograd_run.argtypes = [ctypes.POINTER(Work)]
        loaded.inkpunk_winograd_run.restype = None
    return loaded
