"""One prediction a step, and those of earlier steps with it: the slope as a polynomial, integrated over the step."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, log, prod, sqrt

from ..noise import Draw
from ..prediction import Latents
from .protocol import Denoised, States

LMS_ORDER = 4  # slopes that a step of `lms` goes by
DEIS_ORDER = 3


def lms(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """Linear multistep (Adams and Bashforth): the polynomial in sigma through the last four slopes, integrated.

    k-diffusion's; the steps have different lengths, so that the weights are integrals of Lagrange's polynomials
    over each (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, III.5). The first steps have
    fewer slopes to go by, and what they lose is of order 2, though far less than others of order 2 lose.
    """
    slopes: list[Latents] = []
    for index, (sigma, lower) in enumerate(pairwise(sigmas)):
        x0 = denoised(x, sigma)
        slopes = [(x - x0) / sigma, *slopes[: LMS_ORDER - 1]]
        weights = _weights(sigmas[index::-1][: len(slopes)], sigma, lower)
        for weight, slope in zip(weights, slopes, strict=True):
            x = x + weight * slope
        yield x, x0


def deis(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """DEIS of order 3: Zhang & Chen 2022 (arXiv 2204.13902), with its polynomial in log sigma.

    As `lms`, but the slope, which is the noise, is taken for a polynomial in the logarithm of sigma: diffusers'
    "logrho". The paper counts the polynomial's degree, here 2. The first two steps and one to 0, whose logarithm is
    not to be had, go by fewer slopes.
    """
    slopes: list[Latents] = []
    for index, (sigma, lower) in enumerate(pairwise(sigmas)):
        x0 = denoised(x, sigma)
        slopes = [(x - x0) / sigma, *slopes[: DEIS_ORDER - 1]] if lower else [(x - x0) / sigma]
        if len(slopes) == 1:
            weights = [lower - sigma]
        else:
            places = [*map(log, sigmas[index::-1][: len(slopes)])]
            weights = _weights(places, log(sigma), log(lower), density=exp)
        for weight, slope in zip(weights, slopes, strict=True):
            x = x + weight * slope
        yield x, x0


def _weights(
    places: Sequence[float], start: float, end: float, density: Callable[[float], float] = lambda place: 1.0
) -> list[float]:
    """Integrals, from start to end, of the polynomials that are 1 at one of the places and 0 at the others."""
    middle, half = (start + end) / 2, (end - start) / 2
    points = [(middle + half * point, half * weight) for point, weight in GAUSS]
    return [
        sum(
            weight * density(point) * prod((point - o) / (own - o) for o in places if o != own)
            for point, weight in points
        )
        for own in places
    ]


def _gauss() -> tuple[tuple[float, float], ...]:
    """Gauss and Legendre's five points and weights on [-1, 1]: exact up to degree 9."""
    points = [(0.0, 128 / 225)]
    for sign in (1, -1):
        point = sqrt(5 - sign * 2 * sqrt(10 / 7)) / 3
        weight = (322 + sign * 13 * sqrt(70)) / 900
        points += [(point, weight), (-point, weight)]
    return tuple(points)


GAUSS = _gauss()
