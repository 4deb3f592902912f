"""One prediction a step, and those of earlier steps with it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod, sqrt

from .protocol import Denoised, Draw, Latents

LMS_ORDER = 4  # slopes that a step of `lms` goes by


def lms(
    denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Linear multistep (Adams and Bashforth): the polynomial through the last four slopes, integrated.

    k-diffusion's; the steps have different lengths, so that the weights are integrals of Lagrange's polynomials
    over each (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, III.5). The first steps have
    fewer slopes to go by, so that in the end the error is of order 2, though far smaller than others' of order 2.
    """
    slopes: list[Latents] = []
    for index, (sigma, lower) in enumerate(pairwise(sigmas)):
        x0 = denoised(x, sigma)
        slopes = [(x - x0) / sigma, *slopes[: LMS_ORDER - 1]]
        places = sigmas[index::-1][: len(slopes)]
        for own, slope in enumerate(slopes):
            others = (*places[:own], *places[own + 1 :])
            x = x + _integral(places[own], others, sigma, lower) * slope
        yield x, x0


def _integral(own: float, others: Sequence[float], start: float, end: float) -> float:
    """Of the polynomial that is 1 at its own place and 0 at the others; exact up to degree 3 (Gauss)."""
    middle, half = (start + end) / 2, (end - start) / 2
    points = (middle - half / sqrt(3), middle + half / sqrt(3))
    return half * sum(prod((point - other) / (own - other) for other in others) for point in points)
