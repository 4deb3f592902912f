"""The kernels of native.c: built by the machine's own C compiler on first use, kept for the next, and called.

Nobody needs a compiler: without one, or with one that fails, `library()` is None and the caller has another way.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

SOURCE = Path(__file__).with_name("native.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC")
SECONDS_TO_COMPILE = 120
SWITCH = "INKPUNK_WINOGRAD_NATIVE"  # an environment variable: 0 leaves these kernels alone


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
    """The kernels, built now if they never were on this kind of processor; None where that cannot be."""
    if os.environ.get(SWITCH) == "0" or platform.system() not in ("Linux", "Darwin"):
        return None
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    try:
        loaded = ctypes.CDLL(str(_built(compiler)))
    except (OSError, subprocess.SubprocessError):
        return None  # no OpenMP, an old compiler, no place to write: all the same to who asks
    loaded.inkpunk_winograd_plan.argtypes = [ctypes.POINTER(Work), ctypes.c_long]
    loaded.inkpunk_winograd_plan.restype = ctypes.c_long
    loaded.inkpunk_winograd_run.argtypes = [ctypes.POINTER(Work)]
    loaded.inkpunk_winograd_run.restype = None
    return loaded


def _built(compiler: str) -> Path:
    """The shared library's file, compiled unless it is there."""
    built = _folder() / f"native-{_key(compiler)}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=built.parent) as unfinished:
            fresh = Path(unfinished) / built.name
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(fresh)]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_TO_COMPILE)
            fresh.replace(built)  # at once: another process may be doing the same
    return built


def _folder() -> Path:
    """Where libraries are kept: a folder that nobody else may write to, since what is in it is run.

    Raises:
        PermissionError: it is somebody else's, or open to others.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "inkpunk-winograd"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder}: must be yours, and writable by nobody else")
    return folder


def _key(compiler: str) -> str:
    """What a library depends on: source, compiler and its flags, and the processor that `native` means."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(errors="replace").splitlines() if processor.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    parts = [SOURCE.read_text(), compiler, *FLAGS, platform.machine(), features]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
