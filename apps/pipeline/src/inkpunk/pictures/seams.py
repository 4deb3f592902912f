"""The edge of what was drawn into a picture, so that it does not show."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

REACH = 8.0
"""The standard deviation, in pixels, of how far the edge's difference is carried: a cell of the latents."""

Levels = UInt8[np.ndarray, "height width 3"]


def without_seam(
    drawn: Levels, old: Levels, known: Bool[np.ndarray, "height width"]
) -> Float32[np.ndarray, "height width 3"]:
    """What was drawn, corrected near what is known by how far it misses that: a decoder gives nothing back exactly.

    The difference that known pixels have is carried over the edge and fades. It is the membrane of Perez et al.
    2003, "Poisson Image Editing", by normalized convolution (Knutsson and Westin 1993) in place of solving for it.

    Args:
        drawn: what came out, of held pixels, too.
        old: what there was.
        known: where it was to come out as it was, so that whatever differs is the decoder's.
    """
    new = drawn.astype(np.float32)
    if not known.any() or known.all():
        return new
    share = known.astype(np.float32)
    near = _blurred(share)[..., None]
    missed = _blurred((old - new) * share[..., None]) / near.clip(min=1e-3)
    return new + missed * np.minimum(2 * near, 1)  # at a straight edge half of what is near is known


def _blurred(
    levels: Float32[np.ndarray, "height width *channels"],
) -> Float32[np.ndarray, "height width *channels"]:
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), REACH, borderType=cv2.BORDER_REPLICATE), np.float32)
