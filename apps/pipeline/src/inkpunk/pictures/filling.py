"""What is not known of a picture, made up of what is: for the start of what shall be drawn there."""

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

Levels = UInt8[np.ndarray, "height width channels"]
Share = Float[np.ndarray, "height width"]


def filled(levels: Levels, known: Share) -> Levels:
    """Fill in from the surroundings, the more blurred the further from them.

    The pull-push method: Gortler et al. 1996, "The Lumigraph", section 3.4. What nothing is known around, as in a
    picture of which nothing is, becomes grey.

    Args:
        levels: the picture.
        known: how much of each pixel counts, from 0 (nothing, and it is filled in) to 1 (all, and it is kept).
    """
    if not known.any():
        return np.full_like(levels, 128)
    share = np.ascontiguousarray(known, np.float32)[..., None]
    return _pulled_and_pushed(levels * share, share).round().clip(0, 255).astype(np.uint8)


def _pulled_and_pushed(
    weighted: Float32[np.ndarray, "height width channels"], share: Float32[np.ndarray, "height width 1"]
) -> Float32[np.ndarray, "height width channels"]:
    height, width, _ = weighted.shape
    if share.min() >= 1 or height == width == 1:
        return weighted / share.clip(min=1e-6)
    half = (max(width // 2, 1), max(height // 2, 1))
    coarse_share = _resized(share, half, cv2.INTER_AREA)
    # what is known of a coarse pixel at all says what it is
    scale = np.minimum(coarse_share * 4, 1) / coarse_share.clip(min=1e-6)
    coarse = _pulled_and_pushed(
        _resized(weighted, half, cv2.INTER_AREA) * scale, np.minimum(coarse_share * 4, 1)
    )
    return weighted + (1 - share) * _resized(coarse, (width, height), cv2.INTER_LINEAR)


def _resized(
    levels: Float32[np.ndarray, "_ _ channels"], size: tuple[int, int], how: int
) -> Float32[np.ndarray, "height width channels"]:
    resized = cv2.resize(levels, size, interpolation=how)
    return resized.reshape(*resized.shape[:2], levels.shape[2])  # of one channel it drops the axis
