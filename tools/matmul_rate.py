"""The machine's own measure: how fast it multiplies matrices. Taken between timings, the best is the limit."""

import time

import torch

SIZES = 2048, 4096


def matmul_rate() -> float:
    """Floating-point operations a second, two a multiply-add, of large float32 matrix products; the best of two."""
    rates: list[float] = []
    for size in SIZES:
        a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        rates.append(2 * size**3 / (time.perf_counter() - start))
    return max(rates)
