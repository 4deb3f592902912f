"""Models trained to inpaint: beside the latents, they see what is masked, and what is left of the picture.

Rombach et al. 2022 (arXiv 2112.10752), section 4.5; Stable Diffusion's inpainting checkpoints, whose first
convolution takes nine channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import torch
from inkpunk_unet import Residuals
from jaxtyping import Float
from torch import Tensor

from inkpunk.road.road import Images, Latents, Road, Start

INPAINTING_CHANNELS = 9
"""Of the latents, the mask, and the latents of the picture without what is masked."""


def told_of_the_mask(
    road: Road,
    left: Images,
    mask: Float[Tensor, "1 1 latent_height latent_width"],
    encode: Callable[[Images, Latents], Latents],
    *,
    drawn: bool,
    pictures_of: Callable[[int], Sequence[int]],
) -> Road:
    """Tell the network of the mask.

    Args:
        road: to wrap, whose predictions are made of nine channels.
        left: what is left of the picture, in [-1, 1]; what is masked is 0. One for each picture that is drawn.
        mask: 1 where it is masked, else 0.
        encode: images, and noise to choose among their encodings by, to latents.
        drawn: whether that noise is the next draw after the sampler's first; else it is none, which chooses the mean.
        pictures_of: the picture that each of so many rows is of.
    """
    latents_left = list[Latents]()

    def start() -> Start:
        before = road.start()
        first = next(before.noise)
        latents_left[:] = [encode(left, next(before.noise) if drawn else torch.zeros_like(first))]
        return replace(before, noise=chain([first], before.noise))

    def with_mask(
        latents: Latents,
        timestep: float,
        context: Float[Tensor, "rows tokens width"],
        residuals: Residuals | None = None,
    ) -> Latents:
        rows = latents.shape[0]
        told = [mask.to(latents).expand(rows, -1, -1, -1), latents_left[0][[*pictures_of(rows)]]]
        return road.predict(torch.cat([latents, *told], dim=1), timestep, context, residuals)

    return replace(road, start=start, predict=with_mask)


def pictures_of_rows(pictures: int, parts: Sequence[int]) -> Callable[[int], Sequence[int]]:
    """The picture that each row is of which the network is asked.

    Args:
        pictures: how many are drawn together.
        parts: of composed prompts, the picture that each part belongs to; else none.
    """
    alone = range(pictures)
    return lambda rows: alone if rows == pictures else [*alone, *(parts or alone)]
