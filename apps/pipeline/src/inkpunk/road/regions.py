"""Regions: prompts for parts of a picture.

Bar-Tal et al. 2023, MultiDiffusion (arXiv 2302.08113), section 4.2: each step is the mean of what all prompts
predict, weighted by their regions. Here the weights act on predictions before guidance, which is linear in them; the
paper's bootstrapping, which paints backgrounds of one colour around what regions begin as, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.road import given

Areas = Float[Tensor, "parts latent_height latent_width"]


class RegionError(ValueError):
    """A region that cannot be; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Region:
    """A prompt for a part of the picture, as a user asks for it.

    Attributes:
        prompt: in the language of the whole picture's.
        mask: where it counts, and how much, from black (not) to white; a picture of any size, or the path of one.

    Raises:
        RegionError: for a prompt that is no text.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    prompt: str
    mask: Image.Image | str | Path

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "prompt", given.text("prompt", self.prompt))  # frozen for all others
        except given.GivenError as error:
            raise RegionError(f"region, {error}") from error

    @classmethod
    def read(cls, text: str) -> "Region":
        """Read PROMPT@MASK, as "red samurai@mask.png".

        Raises:
            RegionError: for any other text.
        """
        prompt, at, mask = text.rpartition("@")
        if not (at and prompt.strip() and mask):
            raise RegionError(f"region {text!r}: is not PROMPT@MASK, as 'red samurai@mask.png'")
        return cls(prompt, mask)

    @property
    def kept(self) -> Image.Image:
        """Its mask, once it was read.

        Raises:
            RegionError: it was not.
        """
        if not isinstance(self.mask, Image.Image):
            raise RegionError(f"region {self.prompt!r}: its mask was not read; give it to a Request")
        return self.mask


def areas_of(regions: Sequence[Region], size: tuple[int, int]) -> Areas:
    """How much each prompt counts in each cell of the latents: first the whole picture's, then each region's.

    They add up to 1: regions that overlap share, and what they leave is the whole picture's.

    Args:
        regions: each with its mask, which is stretched over the picture.
        size: width and height of the latents.
    """
    masks = [np.asarray(each.kept.resize(size, Image.Resampling.BOX), np.float32) / 255 for each in regions]
    areas = torch.tensor(np.stack([np.zeros(size[::-1], np.float32), *masks]))
    areas /= areas.sum(0).clamp(min=1)
    areas[0] = 1 - areas.sum(0)
    return areas
