"""How many threads work is worth, and having no more of them."""

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch

from inkpunk_winograd.native.team import runtime

# A core does so many in a twentieth of a millisecond; waking a thread that sleeps takes a fifth of that.
PRODUCTS_A_THREAD = 2_000_000

_native: ContextVar[int | None] = ContextVar("_native", default=None)


def threads_for(products: float) -> int:
    """Of so many multiply-adds: one for each `PRODUCTS_A_THREAD`, up to what torch may use."""
    return _share(products, torch.get_num_threads())


def native_threads_for(products: float) -> int:
    """The same for native kernels, no bit of whose results depends on it: up to what `few_threads` gave them."""
    return _share(products, _native.get() or torch.get_num_threads())


def _share(products: float, most: int) -> int:
    return max(1, min(most, int(products / PRODUCTS_A_THREAD)))


def with_threads(count: int, work: Callable[..., Any], *inputs: Any) -> Any:
    """What `work` gives of inputs, with no more OpenMP threads than `count`; as `few_threads`."""
    if count >= torch.get_num_threads():
        return work(*inputs)
    with few_threads(count):
        return work(*inputs)


@contextmanager
def few_threads(count: int, native: int | None = None) -> Generator[None]:
    """Have torch take no more than `count` threads of a CPU for what the calling thread computes meanwhile.

    For the calling thread alone, and given back at the end: `torch.set_num_threads` would set it for the process.
    Where torch has no OpenMP that can be asked, nothing is set.

    Args:
        count: at least 1; more than torch may use already changes nothing.
        native: how many the native kernels may take, no bit of whose results depends on it; None for as many as
            torch.
    """
    before, openmp, mkl = torch.get_num_threads(), _openmp(), _mkl()
    token = _native.set(native or _native.get())
    if openmp is None or count >= before:
        try:
            yield
        finally:
            _native.reset(token)
        return
    openmp(count)
    mkl_before = (
        mkl(count) if mkl else 0
    )  # which goes by OpenMP only where torch.set_num_threads was never called
    try:
        yield
    finally:
        openmp(before)
        if mkl:
            mkl(mkl_before)
        _native.reset(token)


@cache
def _openmp() -> Callable[[int], Any] | None:
    """`omp_set_num_threads` of the OpenMP that torch works with."""
    return getattr(runtime(), "omp_set_num_threads", None)


@cache
def _mkl() -> Callable[[int], int] | None:
    """`mkl_set_num_threads_local` of the MKL that torch holds, if it does: sets, and returns what was, 0 for none."""
    library = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
    try:
        return getattr(ctypes.CDLL(str(library)), "MKL_Set_Num_Threads_Local", None)
    except OSError:
        return None
