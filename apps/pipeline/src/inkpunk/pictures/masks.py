"""Masks: which parts of a picture are drawn anew, as a file or any of Pillow's images tells it."""

from pathlib import Path

import numpy as np
from PIL import Image

from inkpunk.pictures.reading import read_with_alpha, with_alpha

VISIBLE = 128  # the alpha from which a colour counts: at soft edges, painting programs leave what they please
SAME = 8  # levels that a colour may play by: a JPEG's, or a brush's rounding


def read_mask(mask: Image.Image | str | Path) -> Image.Image:
    """Read a mask of any kind, in its own size, as 8 bits of grey: how much is drawn anew, 255 for all.

    Upright as its EXIF says, 16 bits scaled to 8, and colours by their luminance (Rec. 601). What is transparent is
    kept; where all that is visible has one colour, the mask is what was painted, whatever the colour: so painting
    programs export a selection or a layer.

    Raises:
        PictureError: as `inkpunk.pictures.reading.read_picture`.
    """
    image = with_alpha(mask) if isinstance(mask, Image.Image) else read_with_alpha(mask)
    if image.mode == "RGB":
        return image.convert("L")
    alpha = image.getchannel("A")
    if _is_of_one_colour(image):
        return alpha
    black = Image.new("RGBA", image.size, "black")
    return Image.alpha_composite(black, image).convert("L")


def _is_of_one_colour(image: Image.Image) -> bool:
    """Whether a picture tells by its alpha alone."""
    pixels = np.asarray(image)
    if np.ptp(pixels[..., 3]) == 0:
        return False
    visible = pixels[pixels[..., 3] >= VISIBLE][:, :3]
    return not visible.size or int(np.ptp(visible, axis=0).max()) <= SAME
