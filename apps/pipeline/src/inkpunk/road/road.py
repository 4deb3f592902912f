"""The road from noise to a picture, as functions that features wrap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from inkpunk_sampling import Denoise
from inkpunk_unet import Residuals
from jaxtyping import Float
from torch import Tensor

LATENT_CHANNELS = 4
"""Of Stable Diffusion v1."""

Latents: TypeAlias = Float[Tensor, "batch 4 latent_height latent_width"]
ModelInput: TypeAlias = Float[Tensor, "batch channels latent_height latent_width"]
"""Latents as the UNet sees them: those of inpainting models are followed by the mask and what it leaves."""
Images: TypeAlias = Float[Tensor, "batch 3 height width"]


@dataclass(frozen=True, eq=False)
class Start:
    """Where the sampler begins.

    Attributes:
        noise: the noise that is left to draw: first the initial one, then one for each step that wants one.
        latents: clean latents to begin from, in float32; None for noise alone.
        strength: how much of the way they are sent back, in (0, 1].
        finish: what is made of the latents that the sampler ends with.
    """

    noise: Iterator[Latents]
    latents: Latents | None = None
    strength: float = 1.0
    finish: Callable[[Latents], Latents] = lambda latents: latents


@runtime_checkable
class Predict(Protocol):
    """One evaluation of the UNet."""

    def __call__(
        self,
        latents: ModelInput,
        timestep: float,
        context: Float[Tensor, "batch tokens width"],
        residuals: Residuals | None = None,
    ) -> Latents:
        """Predict the noise in latents, both in float32; what control networks add comes as `residuals`."""
        ...


@dataclass(frozen=True, eq=False)
class Road:
    """What takes a request to its pictures.

    A feature is a function from a road to a road, in a file of its own, that puts something around one of these
    functions: whatever it wraps, it knows nothing of the others or of other features. `Pipeline.road` lays them in
    order.

    Attributes:
        start: where the sampler begins; called once, before anything else.
        predict: one evaluation of the UNet.
        denoise: what the sampler asks, made of predictions: their guidance, and what masks and the like make of it.
        decode: latents to images in about [-1, 1].
    """

    start: Callable[[], Start]
    predict: Predict
    denoise: Callable[[Predict], Denoise]
    decode: Callable[[Latents], Images]
