"""Classifier-free guidance: follow the condition further than the model would by itself."""

from collections.abc import Callable
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from .samplers import Denoise
from .schedule import Timestep


def guide(
    predict: Callable[[Float[Tensor, "2*batch ..."], float], Float[Tensor, "2*batch ..."]], scale: float
) -> Denoise:
    """Extrapolate from the unconditional to and past the conditional prediction.

    Ho & Salimans 2022 (arXiv 2207.12598), eq. 6: (1 + w) conditional - w unconditional, where scale = 1 + w:
    at scale 1 (w = 0) the result is the conditional prediction, at 0 the unconditional one, both exactly;
    Stable Diffusion is usually run at 7 to 8.

    Args:
        predict: predicts the noise of a batch doubled, the same latents twice: the first half without the
            condition (or with the negative one), the second half with it. Called once a prediction, with the
            sampler's timestep, a float.
        scale: any finite number.

    Returns:
        `denoise` for `sample`.

    Raises:
        ValueError: if scale is not finite; when called, if `predict` does not return the shape it was given.
    """
    if not isfinite(scale):
        raise ValueError(f"guidance scale {scale}: give a finite number")

    def denoise(latents: Float[Tensor, "batch ..."], timestep: Timestep) -> Float[Tensor, "batch ..."]:
        doubled = torch.cat([latents, latents])
        prediction = predict(doubled, timestep)
        if prediction.shape != doubled.shape:
            raise ValueError(
                f"predict returned {list(prediction.shape)} for doubled latents {list(doubled.shape)}: "
                "return the unconditional predictions, then the conditional ones"
            )
        unconditional, conditional = prediction.chunk(2)
        return torch.lerp(unconditional, conditional, scale)  # exact at both ends, unlike u + scale * (c - u)

    return denoise
