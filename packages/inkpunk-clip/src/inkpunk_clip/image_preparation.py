"""Images of any size to what CLIP's image encoder was trained on: resized, cut square, normalised."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Of the pixels of CLIP's training images, red, green and blue, in [0, 1].
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MOST_TIMES_AS_LONG = (
    64  # as wide, or high: beyond that, the middle that CLIP sees says nothing of the picture
)


def prepared(
    images: Float[Tensor, "batch 3 height width"], size: int = 224
) -> Float[Tensor, "batch 3 size size"]:
    """The middle of each image, as CLIP's image encoder sees it, in the images' dtype.

    The shorter side is made `size` by Pillow's bicubic filter, which looks at more pixels the more it shrinks; what
    is longer is cut at both ends; and each colour is centred and scaled by CLIP's own mean and deviation.

    Args:
        images: RGB in [-1, 1], as everywhere in Inkpunk; of any height and width.
        size: pixels of the sides of what comes out, as `ImageEncoderConfig.image`.

    Raises:
        ValueError: there is no pixel, or one side is more than 64 times as long as the other.

    Source: https://arxiv.org/abs/2103.00020, and the reference checkpoints' preprocessor configs.
    """
    height, width = images.shape[2:]
    short, long = sorted((height, width))
    if not short:
        raise ValueError(f"an image of {height}x{width} pixels has nothing to see")
    if long > MOST_TIMES_AS_LONG * short:
        raise ValueError(
            f"an image of {height}x{width} pixels is more than {MOST_TIMES_AS_LONG} times as long as it is wide, and "
            "CLIP sees the middle alone: cut it to what it should see"
        )
    high, wide = (size * each // short for each in (height, width))
    seen = images / 2 + 0.5
    for pixels in ((height, wide), (high, wide)):  # side by side, then one above the other, as Pillow does
        seen = F.interpolate(seen, pixels, mode="bicubic", antialias=True).clamp(
            0, 1
        )  # it overshoots at edges
    top, left = (high - size) // 2, (wide - size) // 2
    seen = seen[:, :, top : top + size, left : left + size]
    mean, std = (images.new_tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
    return (seen - mean) / std
