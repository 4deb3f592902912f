"""The machine's own measure: how fast it multiplies matrices. Taken between timings, the best is the limit."""

import time

import torch

SIZES = 2048, 4096


def matmul_rate(dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second, two a multiply-add, of large matrix products; the best of two."""
    rates: list[float] = []
    for size in SIZES:
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        out = torch.empty(size, size, dtype=dtype)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        rates.append(2 * size**3 / (time.perf_counter() - start))
    return max(rates)
