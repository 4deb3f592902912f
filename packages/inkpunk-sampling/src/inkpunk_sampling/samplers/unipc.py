"""UniPC: a step predicted, and corrected by the prediction that the next step asks for anyway."""

from collections.abc import Sequence
from itertools import pairwise
from math import expm1, inf, log

from ..noise import Draw
from ..prediction import Latents
from .protocol import Denoised, States

ORDER = 2  # as diffusers has it: of the predictor; the corrector's is one more


def unipc(denoised: Denoised, x: Latents, sigmas: Sequence[float], draw: Draw) -> States:
    """Zhao et al. 2023 (arXiv 2302.04867), UniPC-2 with B_2(h) = e^h - 1, on the prediction of x_0.

    A step of order p = 2 uses the last two predictions. The next step's first prediction, at the point that was
    predicted, corrects that point before the sampler goes on from it. The first step and the last are of order 1.
    """
    history: list[tuple[float, Latents]] = []  # sigma and x_0, the latest first
    before, used = x, 0  # the point that the last step began at, and the order that it had
    for index, (sigma, lower) in enumerate(pairwise(sigmas)):
        x0 = denoised(x, sigma)
        if used:
            x = _step(before, history[:used], sigma, corrected_by=x0)
        history = [(sigma, x0), *history[: ORDER - 1]]
        left = len(sigmas) - 1 - index
        used = min(ORDER, len(history), left)  # less towards the end, where steps are rough
        before, x = x, _step(x, history[:used], lower)
        yield x, x0


def _step(
    x: Latents,
    history: Sequence[tuple[float, Latents]],
    lower: float,
    corrected_by: Latents | None = None,
) -> Latents:
    """From the latest sigma of the history to a lower one: UniP, and with a prediction from there, UniC."""
    (sigma, x0), *earlier = history
    h = log(sigma / lower) if lower else inf
    places = [log(sigma / other) / h for other, _ in earlier]  # r_1, ..., negative
    slopes = [(other - x0) / r for (_, other), r in zip(earlier, places, strict=True)]
    if corrected_by is not None:
        places, slopes = [*places, 1.0], [*slopes, corrected_by - x0]
    x = (lower / sigma) * x - expm1(-h) * x0
    for weight, slope in zip(_weights(places, h), slopes, strict=True):
        x = x - expm1(-h) * weight * slope
    return x


def _weights(places: Sequence[float], h: float) -> list[float]:
    """The paper's a_m / r_m: with them the step is exact for x_0 a polynomial in lambda through these places."""
    if len(places) <= 1:
        return [0.5] * len(places)  # the paper's choice for order 2, which the predictor takes too
    r, end = places
    phi = expm1(-h) / -h - 1
    first = phi / expm1(-h)  # the weights' sum; their first moment
    second = 2 * (phi / -h - 1 / 2) / expm1(-h)
    weight = (second - first * end) / (r - end)
    return [weight, first - weight]
