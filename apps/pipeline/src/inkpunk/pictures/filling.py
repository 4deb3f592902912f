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
    height, width, channels = weighted.shape
    if share.min() >= 1 or height == width == 1:
        return weighted / share.clip(min=1e-6)
    # a Gaussian, so that a coarse pixel knows of its neighbours: cells would break off at their borders
    coarse_share = cv2.pyrDown(share, borderType=cv2.BORDER_REPLICATE)[..., None]
    known = np.minimum(coarse_share * 4, 1)  # what is known of a coarse pixel at all says what it is
    pulled = cv2.pyrDown(weighted, borderType=cv2.BORDER_REPLICATE).reshape(*known.shape[:2], channels)
    coarse = _pulled_and_pushed(pulled * (known / coarse_share.clip(min=1e-6)), known)
    pushed = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return weighted + (1 - share) * pushed.reshape(weighted.shape)
