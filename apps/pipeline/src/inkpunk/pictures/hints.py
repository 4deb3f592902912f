"""What a control network is shown: lines, drawings and the like, made of any picture."""

from collections.abc import Callable, Mapping
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]  # height x width

CANNY_LOW, CANNY_HIGH = 100, 200
"""Gradients between which an edge goes on, and above which it begins; ControlNet was trained with these."""
SOFT_WIDTH = 1.5
"""Of the blur before soft edges are looked for, in pixels of 512."""
FINE, COARSE = 0.5, 5.0
"""Widths of the two blurs between which scribbles are found, in pixels of 512."""
SCRIBBLE = 32
"""The least difference between them that is a stroke, of 255."""
GREY = 12
"""The most levels, of 255, between the colours of a pixel that is grey; JPEGs are inexact."""
FLAT = 4
"""The fewest levels, of 255, between a hint's darkest and brightest pixel with which it says anything."""


def canny(picture: Image.Image) -> Image.Image:
    """White lines of one pixel on black, where brightness changes.

    Source: Canny, A Computational Approach to Edge Detection, 1986.
    """
    return _white_on_black(np.asarray(cv2.Canny(_rgb(picture), CANNY_LOW, CANNY_HIGH), np.uint8))


def soft_edges(picture: Image.Image) -> Image.Image:
    """White where brightness changes, on black: the brighter the more, and two or three pixels wide."""
    smooth = _blurred(_grey(picture), SOFT_WIDTH)
    across, down = cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(across, down)
    strength = strength / max(float(np.percentile(strength, 99)), 1e-6) * 255
    return _white_on_black(np.clip(strength, 0, 255).astype(np.uint8))


def scribble(picture: Image.Image) -> Image.Image:
    """White strokes on black, as by a thick pen: where a picture is darker than its surroundings.

    Source: Winnemöller, Kyprianidis and Olsen, XDoG, 2012: a difference of Gaussians, cut off.
    """
    grey = _grey(picture)
    darker = _blurred(grey, COARSE) - _blurred(grey, FINE)
    return _white_on_black(np.where(darker > SCRIBBLE, 255, 0).astype(np.uint8))


def as_it_is(picture: Image.Image) -> Image.Image:
    """The picture."""
    return picture.convert("RGB")


def grey(picture: Image.Image) -> Image.Image:
    """The picture's brightness alone."""
    return picture.convert("L").convert("RGB")


#: How a hint of each kind is made of a picture that is fitted to the drawing's size.
MAKERS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "canny": canny,
    "softedge": soft_edges,
    "scribble": scribble,
    "tile": as_it_is,
    "depth": grey,
}


def as_png(hint: Image.Image) -> bytes:
    """A hint as a file, which `--hint` takes."""
    file = BytesIO()
    hint.save(file, "PNG")
    return file.getvalue()


def is_grey(picture: Image.Image) -> bool:
    """Whether a picture has no colours, but for what compression leaves of them."""
    return int(np.ptp(_rgb(picture), axis=2).max()) <= GREY


def says_nothing(hint: Image.Image) -> bool:
    """Whether a hint is of one colour, all black for example."""
    return int(np.ptp(_rgb(hint), axis=(0, 1)).max()) < FLAT


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.convert("RGB"), np.uint8)


def _grey(picture: Image.Image) -> Grey:
    return np.asarray(picture.convert("L"), np.uint8)


def _blurred(grey: Grey, width: float) -> NDArray[np.float32]:
    sigma = width * max(grey.shape) / 512
    return np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), max(sigma, 0.3)), np.float32)


def _white_on_black(lines: Grey) -> Image.Image:
    return Image.fromarray(lines).convert("RGB")
