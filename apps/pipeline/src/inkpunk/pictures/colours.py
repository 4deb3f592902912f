"""Colours of one picture given to another."""

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image

FAINT = 0.1
"""The variance, in CIELAB's units, that rounding to 8 bits leaves in a flat picture: no more of it is blown up."""


def match_colours(image: Image.Image, like: Image.Image) -> Image.Image:
    """An RGB image whose colours have the mean and the covariance of another's, in CIELAB.

    Of all linear maps that do so it is the one that moves colours least, so that an image whose colours match already
    is left alone. What would lie outside of sRGB is clipped.

    Source: Pitié and Kokaram, The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer,
    2007.
    """
    lab = _lab(image)
    (mean, covariance), (wanted_mean, wanted) = _statistics(lab), _statistics(_lab(like))
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    linear = inverse @ _root(root @ wanted @ root) @ inverse
    moved = ((lab - mean) @ linear + wanted_mean).astype(np.float32)
    rgb = cv2.cvtColor(moved.reshape(image.height, image.width, 3), cv2.COLOR_LAB2RGB)
    return Image.fromarray((np.clip(rgb, 0, 1) * 255).round().astype(np.uint8))


def _lab(image: Image.Image) -> Float[np.ndarray, "pixels 3"]:
    levels = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2LAB)).reshape(-1, 3)


def _statistics(
    lab: Float[np.ndarray, "pixels 3"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"]]:
    mean = lab.mean(axis=0, dtype=np.float64)
    centred = lab - mean
    return mean, centred.T @ centred / len(lab) + FAINT * np.eye(3)


def _root(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The square root of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
