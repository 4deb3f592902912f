"""Image to image: the sampler begins from a picture's latents, sent part of the way back into noise."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

import torch

from inkpunk.road.road import Images, Latents, Road, Start


def from_image(
    road: Road,
    image: Callable[[], Images],
    strength: float,
    encode: Callable[[Images, Latents], Latents],
    drawn: bool = True,
) -> Road:
    """Begin from an image (Meng et al. 2021, arXiv 2108.01073).

    Args:
        road: to wrap.
        image: makes what it begins from, in [-1, 1], one for each picture that is drawn; called when it begins.
        strength: how much of it is drawn anew, in (0, 1].
        encode: images, and noise to choose among their encodings by, to latents.
        drawn: whether that noise is the first draw, as diffusers has it, or none, which chooses the mean.
    """

    def start() -> Start:
        before = road.start()
        first = next(before.noise)
        if drawn:  # and the second sends it back, as diffusers has it
            return replace(before, latents=encode(image(), first), strength=strength)
        noise, mean = chain([first], before.noise), encode(image(), torch.zeros_like(first))
        return replace(before, noise=noise, latents=mean, strength=strength)

    return replace(road, start=start)


def from_latents(road: Road, latents: Latents, strength: float) -> Road:
    """Begin from latents, one for each picture that is drawn; the first draw of noise sends them back."""
    return replace(road, start=lambda: replace(road.start(), latents=latents, strength=strength))
