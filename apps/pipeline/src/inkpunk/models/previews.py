"""How a model's latents are seen without its VAE: a linear map to colours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from inkpunk_weights import Checkpoint, CheckpointError
from jaxtyping import Float
from torch import Tensor

from inkpunk.models.loading import metadata_json
from inkpunk.models.told import is_number
from inkpunk.road.road import LATENT_CHANNELS

PREVIEW_KEY = "inkpunk.preview"  # in a single file's metadata: {"factors": 4 rows of 3, "bias": 3 numbers}
COLOURS = 3
MOST = 100.0  # that a factor may be: a colour lies in [-1, 1], and a latent about there too


@dataclass(frozen=True)
class LinearPreview:
    """A linear map from a latent to the colour of the 8 x 8 pixels that it stands for; the default is SD v1's.

    Stable Diffusion v1's factors are those that ComfyUI publishes (`comfy/latent_formats.py`); it has no bias.

    Attributes:
        factors: of each latent channel, how much red, green and blue it adds.
        bias: what red, green and blue are without.
    """

    factors: tuple[tuple[float, ...], ...] = (
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
    )
    bias: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __call__(
        self, latents: Float[Tensor, "batch 4 latent_height latent_width"]
    ) -> Float[Tensor, "batch 3 latent_height latent_width"]:
        """Small images, one pixel a latent, in float32 and about [-1, 1]."""
        factors, bias = (
            latents.new_tensor(numbers, dtype=torch.float32) for numbers in (self.factors, self.bias)
        )
        return torch.einsum("bchw,cr->brhw", latents.float(), factors) + bias[:, None, None]

    def to_json(self) -> str:
        """As a file's metadata tell it."""
        return json.dumps({"factors": self.factors, "bias": self.bias})


def read_preview(checkpoint: Checkpoint) -> LinearPreview:
    """The map that a model's metadata tell; of the model in the box its own, and else Stable Diffusion v1's.

    Raises:
        CheckpointError: where metadata tell anything else than 4 times 3 numbers, and 3.
    """
    told = metadata_json(checkpoint.metadata, checkpoint.path, PREVIEW_KEY) or _of_the_box(checkpoint.path)
    if not told:
        return LinearPreview()
    factors, bias = told.get("factors"), told.get("bias", [0.0] * COLOURS)
    rows = [_numbers(row, COLOURS) for row in _listed(factors, LATENT_CHANNELS) or [None]]
    base = _numbers(bias, COLOURS)
    if base is None or None in rows:
        raise CheckpointError(
            f"{checkpoint.path}: metadata {PREVIEW_KEY!r}: must be factors, {LATENT_CHANNELS} lists of {COLOURS} "
            f"numbers each, and bias, {COLOURS} numbers, none beyond {MOST:g}"
        )
    return LinearPreview(tuple(row for row in rows if row), base)


def _of_the_box(path: Path) -> Mapping[str, object]:
    """What is told beside the weights in the box: within, it would change their hash, and so every recipe's."""
    import inkpunk_sketch

    return inkpunk_sketch.PREVIEW if path == inkpunk_sketch.weights() else {}


def _listed(value: object, length: int) -> Sequence[object]:
    """A list of so many; of anything else, an empty one."""
    listed = cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
    return listed if len(listed) == length else ()


def _numbers(value: object, length: int) -> tuple[float, ...] | None:
    found = tuple(float(each) for each in _listed(value, length) if is_number(each) and abs(each) <= MOST)
    return found if len(found) == length else None
