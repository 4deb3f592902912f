"""Networks that make pictures larger, of any kind that spandrel knows: opened without running a stranger's pickle."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from inkpunk_weights import CheckpointError, open_upscaler
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.memory.precision import refuse_not_finite
from inkpunk.models.hashing import short_hash
from inkpunk.pictures.pixels import image_to_tensor, tensor_to_image
from inkpunk.road.tiles import lay_tiles

TILE = 192  # pixels of the picture before; a network of ESRGAN's size takes about a gigabyte for it
MOST_SCALE = 16
INSTALL = 'pip install "inkpunk[upscalers]"'


@dataclass(frozen=True, eq=False)
class Upscaler:
    """A network that makes pictures larger.

    Attributes:
        name: its file's, without the ending.
        hash: the first 12 hex digits of its file's SHA-256.
        scale: how many times as wide and high the pictures become.
        network: pictures in [0, 1] to larger ones.
        device: where it computes, in float32.
    """

    name: str
    hash: str
    scale: int
    network: Callable[[Float[Tensor, "1 3 height width"]], Float[Tensor, "1 3 larger_height larger_width"]]
    device: torch.device

    @property
    def told(self) -> str:
        """As a recipe has it."""
        return f"{self.name} [{self.hash}]"

    def enlarged(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A picture made larger, as often as it takes to cover this width and height; once at least.

        It works in tiles that overlap and blend, so that what it takes does not grow with the picture.
        """
        image = self._once(image)
        while image.width < size[0] or image.height < size[1]:
            image = self._once(image)
        return image

    def _once(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        larger = torch.zeros(1, 3, height * self.scale, width * self.scale)
        places = lay_tiles(height, width, TILE, self.scale)
        for (tile, _), (place, weights) in zip(lay_tiles(height, width, TILE), places, strict=True):
            part = (image_to_tensor(image.crop(tile.box))[None].to(self.device) + 1) / 2
            with torch.no_grad():
                told = self.network(part).cpu()
            refuse_not_finite(told, f"upscaler {self.name}", torch.float32)
            place.of(larger).add_(told * weights)
        return tensor_to_image(larger[0].mul_(2).sub_(1))


def load_upscaler(path: Path, device: torch.device) -> Upscaler:
    """Open a network that makes pictures larger.

    Args:
        path: its file, as `torch.save` wrote it or safetensors; nothing in it is run.
        device: where it shall compute.

    Raises:
        CheckpointError: for a file that is none, or none that spandrel knows; and where spandrel is not installed.
    """
    try:
        spandrel: Any = import_module("spandrel")
    except ImportError as error:
        raise CheckpointError(
            f"{path}: what reads upscalers is not installed; {INSTALL}, or enlarge without --upscaler"
        ) from error
    tensors = {name: tensor.float() for name, tensor in open_upscaler(path).tensors.items()}
    try:
        found = spandrel.ModelLoader(device).load_from_state_dict(tensors)
    except Exception as error:  # a stranger's file: its many readers raise whatever they stumble over
        raise CheckpointError(
            f"{path}: not an upscaler that is known here: spandrel's list of architectures says which are"
        ) from error
    takes, gives, scale = found.input_channels, found.output_channels, found.scale
    if not isinstance(found, spandrel.ImageModelDescriptor) or (takes, gives) != (3, 3):
        raise CheckpointError(
            f"{path}: takes {takes} channels and gives {gives}, and pictures in colour have 3; get one for those"
        )
    if not 1 < scale <= MOST_SCALE:
        raise CheckpointError(
            f"{path}: a network that makes pictures {scale} times as large; get one of 2 or 4"
        )
    return Upscaler(path.stem, short_hash(path), scale, found.eval(), device)
