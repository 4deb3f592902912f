"""How many threads work is worth, and having no more of them."""

from collections.abc import Callable
from typing import Any

import torch

from inkpunk_winograd.native.team import runtime

# A core does so many in a twentieth of a millisecond; waking a thread that sleeps takes a fifth of that.
PRODUCTS_A_THREAD = 2_000_000


def threads_for(products: float) -> int:
    """Of so many multiply-adds: one for each `PRODUCTS_A_THREAD`, up to what torch may use."""
    return max(1, min(torch.get_num_threads(), int(products / PRODUCTS_A_THREAD)))


def with_threads(count: int, work: Callable[..., Any], *inputs: Any) -> Any:
    """What `work` gives of inputs, with no more OpenMP threads than `count`.

    For the calling thread alone, and only meanwhile: `torch.set_num_threads` would set it for the process. Where
    torch has no OpenMP, nothing is set.
    """
    openmp, before = runtime(), torch.get_num_threads()
    if openmp is None or count >= before:
        return work(*inputs)
    openmp.omp_set_num_threads(count)
    try:
        return work(*inputs)
    finally:
        openmp.omp_set_num_threads(before)
