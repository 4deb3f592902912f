"""Classifier-free guidance: follow the condition further than the model would by itself.

`guide` asks the model with and without the condition. How the two answers become one is a function of them, a
`Combine`, and such functions wrap one another; at which noise levels they are asked for is `within`.
"""

from collections.abc import Callable
from math import inf, isfinite
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from .prediction import PREDICTIONS, Latents, Prediction
from .samplers import Denoise
from .schedule import NoiseSchedule, Timestep

Combine: TypeAlias = Callable[[Latents, Latents, Latents, float], Latents]
"""(unconditional, conditional, x_t, t) to the guided one: two of the model's outputs for x_t, and what to take for
its output. Each image of a batch is treated by itself, and the dtype is kept."""


def guide(
    predict: Callable[[Float[Tensor, "2*batch ..."], float], Float[Tensor, "2*batch ..."]],
    scale: float | Combine,
) -> Denoise:
    """Ask a model with and without its condition, in one batch, and combine the answers.

    Args:
        predict: predicts the noise of a batch doubled, the same latents twice: the first half without the
            condition (or with the negative one), the second half with it. Called once a prediction, with the
            sampler's timestep, a float.
        scale: that of `classifier_free` guidance, any finite number; or another way to combine the answers.

    Returns:
        `denoise` for `sample`.

    Raises:
        ValueError: if scale is not finite; when called, if `predict` does not return the shape it was given.
    """
    combine = scale if callable(scale) else classifier_free(scale)

    def denoise(latents: Float[Tensor, "batch ..."], timestep: Timestep) -> Float[Tensor, "batch ..."]:
        doubled = torch.cat([latents, latents])
        prediction = predict(doubled, timestep)
        if prediction.shape != doubled.shape:
            raise ValueError(
                f"predict returned {list(prediction.shape)} for doubled latents {list(doubled.shape)}: "
                "return the unconditional predictions, then the conditional ones"
            )
        unconditional, conditional = prediction.chunk(2)
        return combine(unconditional, conditional, latents, timestep)

    return denoise


def classifier_free(scale: float) -> Combine:
    """Extrapolate from the unconditional to and past the conditional prediction.

    Ho & Salimans 2022 (arXiv 2207.12598), eq. 6: (1 + w) conditional - w unconditional, where scale = 1 + w:
    at scale 1 (w = 0) the result is the conditional prediction, at 0 the unconditional one, both exactly;
    Stable Diffusion is usually run at 7 to 8.

    Raises:
        ValueError: if scale is not finite.
    """
    _check_scale(scale)

    def combine(
        unconditional: Latents, conditional: Latents, latents: Latents, timestep: Timestep
    ) -> Latents:
        return torch.lerp(unconditional, conditional, scale)  # exact at both ends, unlike u + scale * (c - u)

    return combine


def rescaled(
    combine: Combine, phi: float, schedule: NoiseSchedule | None = None, prediction: str = "epsilon"
) -> Combine:
    """Bring what is guided back to the standard deviation of the conditional prediction, each image's own.

    Lin et al. 2023 (arXiv 2305.08891), section 3.4, against the overexposure that high scales bring. There it acts on
    the model's own output, which is v. Where a model predicts noise, diffusers rescales that; its deviation is nearly
    the same at every level, guided or not, so that less of it leaves the picture than should. With a `schedule` it
    is v that is rescaled, whatever the model predicts, as in ComfyUI.

    Args:
        combine: the guidance to rescale.
        phi: how much of it, 0 (none, exactly) to 1 (the conditional's standard deviation); the paper takes 0.7.
        schedule: what the model was trained with, to rescale v; None to rescale the model's own output.
        prediction: what the model predicts, a name in `PREDICTIONS`.

    Raises:
        ValueError: if phi is not in [0, 1], or the prediction is unknown.
    """
    if not 0 <= phi <= 1:
        raise ValueError(f"guidance rescale {phi}: give 0 (none) to 1 (the conditional's standard deviation)")
    model, v = _prediction(prediction), PREDICTIONS["v"]
    if phi == 0:
        return combine

    def rescale(
        unconditional: Latents, conditional: Latents, latents: Latents, timestep: Timestep
    ) -> Latents:
        guided = combine(unconditional, conditional, latents, timestep)
        if schedule is None:
            return _match(_wide(guided), _wide(conditional), phi).to(guided.dtype)
        told = _wide(latents), schedule.signal(timestep), schedule.noise(timestep)

        def in_v(output: Latents) -> Latents:
            return v.write(model.read(_wide(output), *told).clean, *told)

        matched = _match(in_v(guided), in_v(conditional), phi)
        return model.write(v.read(matched, *told).clean, *told).to(guided.dtype)

    return rescale


def projected(
    scale: float,
    schedule: NoiseSchedule,
    *,
    eta: float = 0.0,
    threshold: float = 7.5,
    momentum: float = -0.5,
    prediction: str = "epsilon",
) -> Combine:
    """Adaptive projected guidance (APG): take from guidance what oversaturates, and keep what adds detail.

    Sadat et al. 2024 (arXiv 2410.02416), Algorithm 1, on the estimates of x_0, as there: what guidance adds to the
    conditional estimate is limited in length, and weakened where it is parallel to that estimate. With eta 1, an
    infinite threshold and no momentum it is `classifier_free`.

    The momentum is a running sum over the predictions of one run: make a new one for each run. A sampler that asks
    twice a step adds to it twice a step.

    Args:
        scale: as for `classifier_free`, any finite number.
        schedule: what the model was trained with.
        eta: how much of the parallel component to keep; the paper finds 0 best, 1 keeps all.
        threshold: r, above 0: the longest that the difference of conditional and unconditional may be, as the L2 norm
            over an image's latents. That norm grows as the square root of their number: 7.5 for Stable Diffusion's
            4x64x64 is the paper's 15 for SD XL's 4x128x128. `math.inf` is no limit.
        momentum: beta, in (-1, 1), of the earlier differences; negative ones turn guidance away from where it already
            went. -0.5 is the paper's for SD XL, 0 is none.
        prediction: what the model predicts, a name in `PREDICTIONS`.

    Raises:
        ValueError: for values outside these ranges; when called, for another shape of latents than before.
    """
    _check_scale(scale)
    if not isfinite(eta):
        raise ValueError(f"eta {eta}: give a finite number, usually 0 to 1")
    if not threshold > 0:
        raise ValueError(f"threshold {threshold}: give a norm above 0; math.inf is no limit")
    if not -1 < momentum < 1:  # beyond, the sum of differences would grow without end
        raise ValueError(f"momentum {momentum}: give more than -1 and less than 1; the paper's are negative")
    model = _prediction(prediction)
    running: Latents | None = None

    def combine(
        unconditional: Latents, conditional: Latents, latents: Latents, timestep: Timestep
    ) -> Latents:
        nonlocal running
        signal, noise = schedule.signal(timestep), schedule.noise(timestep)
        wide, nothing = _wide(conditional), torch.zeros_like(_wide(latents))
        # x_0 is linear in the output and x_t, and what two outputs have of one x_t cancels in their difference: read
        # and written as if x_t were 0, it loses no digits, and scale 1 is the conditional output exactly.
        clean = model.read(wide, _wide(latents), signal, noise).clean
        difference = model.read(wide - _wide(unconditional), nothing, signal, noise).clean
        if running is not None:
            if running.shape != difference.shape:  # would broadcast
                raise ValueError(
                    f"latents {list(difference.shape)} after {list(running.shape)}: the momentum is of one run; make "
                    "a `projected` for each"
                )
            difference = difference + momentum * running
        running = difference
        update = _weaken_parallel(_limit(difference, threshold), clean, eta)
        return (wide + (scale - 1) * model.write(update, nothing, signal, noise)).to(conditional.dtype)

    return combine


def within(
    guided: Denoise, conditional: Denoise, schedule: NoiseSchedule, low: float, high: float = inf
) -> Denoise:
    """Guide at the noise levels low < sigma <= high alone.

    Kynkaanniemi et al. 2024 (arXiv 2404.07724): at the highest levels guidance takes variety, at the lowest it
    changes nothing. Elsewhere the model is asked under its condition alone, which is half the work.

    Args:
        guided: asked inside the interval, such as `guide` gives.
        conditional: asked outside of it: the model under its condition, on the batch as it is.
        schedule: tells the noise level of a timestep, `schedule.sigma(t)`.
        low, high: sigmas, 0 <= low <= high; the paper takes 0.28 to 5.42 for Stable Diffusion XL, whose noise
            schedule is Stable Diffusion v1.5's (0.03 to 14.6).

    Raises:
        ValueError: if the interval is none.
    """
    if not 0 <= low <= high:
        raise ValueError(f"guidance from sigma {low} to {high}: give 0 <= low <= high")

    def denoise(latents: Float[Tensor, "batch ..."], timestep: Timestep) -> Float[Tensor, "batch ..."]:
        ask = guided if low < schedule.sigma(timestep) <= high else conditional
        return ask(latents, timestep)

    return denoise


def _check_scale(scale: float) -> None:
    if not isfinite(scale):
        raise ValueError(f"guidance scale {scale}: give a finite number")


def _prediction(name: str) -> Prediction:
    if name not in PREDICTIONS:
        raise ValueError(f"unknown prediction {name!r}: choose from {', '.join(PREDICTIONS)}")
    return PREDICTIONS[name]


def _match(guided: Latents, conditional: Latents, phi: float) -> Latents:
    """Give what is guided phi of the conditional's standard deviation."""
    wanted, found = (_rows(each).std(1, correction=0) for each in (conditional, guided))
    ratio = torch.where(found > 0, wanted / found, 1.0)  # a constant has no deviation to change
    return guided * _like(phi * ratio + (1 - phi), guided)


def _limit(difference: Latents, threshold: float) -> Latents:
    """Shorten to the threshold what is longer."""
    norm = _rows(difference).square().sum(1).sqrt()
    return difference * _like((threshold / norm).clamp(max=1.0), difference)  # of norm 0: inf, clamped


def _weaken_parallel(difference: Latents, clean: Latents, eta: float) -> Latents:
    """Keep eta of the component along `clean`, and all that is orthogonal to it."""
    unit = torch.nn.functional.normalize(_rows(clean), dim=1).view_as(clean)  # of nothing: 0
    along = _rows(difference * unit).sum(1)
    return difference + (eta - 1) * _like(along, difference) * unit


def _wide(tensor: Latents) -> Latents:
    """For sums over an image, float32 at least: float16 ends at 65504, and bfloat16 has 8 bits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rows(latents: Latents) -> Float[Tensor, "batch numbers"]:
    """A row an image, of all its numbers."""
    return latents.reshape(latents.shape[0], -1)


def _like(numbers: Float[Tensor, " batch"], latents: Latents) -> Float[Tensor, "batch ..."]:
    """One number an image, so shaped as to multiply its latents."""
    return numbers.view(-1, *[1] * (latents.ndim - 1))
