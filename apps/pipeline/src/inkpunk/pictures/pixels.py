"""Between images of 8 bits and the tensors that networks see."""

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.memory.precision import is_finite
from inkpunk.pictures.facts import PictureError

STRIP_ROWS = 64


def image_to_tensor(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """An image as float32 in [-1, 1]: black is -1, white is 1."""
    levels = torch.tensor(np.asarray(image.convert("RGB")))
    return levels.permute(2, 0, 1).contiguous().float().div_(127.5).sub_(1)


def image_hash(image: Image.Image) -> str:
    """The MD5 of an image's pixels in RGB, in hex digits, as AUTOMATIC1111 writes it: a name, no seal."""
    return hashlib.md5(image.convert("RGB").tobytes(), usedforsecurity=False).hexdigest()


def tensor_to_image(image: Float[Tensor, "3 height width"]) -> Image.Image:
    """A network's image, about [-1, 1], as 8-bit RGB: clamped, and rounded to the nearest level.

    A tie goes to the even level, as in numpy's `round` and hence in diffusers.

    Raises:
        PictureError: for an image with NaN or infinity in it, which is no picture but an overflow.
    """
    image = image.detach().to("cpu", torch.float32)
    if not is_finite(image):
        raise PictureError(
            "the VAE returned numbers that are not finite: an overflow, if in float16; use --dtype float32"
        )
    # in strips: beside a large image, copies of it would count
    strips = [
        ((rows / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        for rows in torch.split(image, STRIP_ROWS, 1)
    ]
    return Image.fromarray(torch.cat(strips, 1).permute(1, 2, 0).numpy())
