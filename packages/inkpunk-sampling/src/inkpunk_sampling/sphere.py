"""Ways between draws of noise that stay noise: a mean of two has too little variance, a point on the arc has not."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

PARALLEL = 1e-4
"""Angles, in radians, within which two directions count as one, or as opposite."""


def slerp(
    start: Float[Tensor, "batch ..."], end: Float[Tensor, "batch ..."], amount: float
) -> Float[Tensor, "batch ..."]:
    """Go part of the way from one draw to another along the great circle through both, each image by itself.

    Shoemake 1985, "Animating Rotation with Quaternion Curves" (SIGGRAPH); for the latents of generative models, White
    2016, "Sampling Generative Networks" (arXiv 1609.04468). Standard-normal noise of many dimensions lies in a thin
    shell around the origin, and a model has seen none elsewhere: halfway along the straight line, two draws are
    shorter by a factor of sqrt(1/2). Along the arc, of two of one length, none is shorter.

    Args:
        start, end: one image a row, of any shape; what follows the first axis is one vector.
        amount: 0, exactly `start`, to 1, exactly `end`.

    Returns:
        In the dtype of `start`; half precision computes in float32. Where an image's two vectors have one direction,
        or one has none, on the straight line.

    Raises:
        ValueError: `amount` is not in [0, 1], the shapes differ, or two vectors are opposite, so that no way between
            them is the shortest.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount {amount}: give 0 to 1")
    if start.shape != end.shape:
        raise ValueError(f"draws of shapes {list(start.shape)} and {list(end.shape)}: give two of one shape")
    exact = torch.promote_types(start.dtype, torch.float32)
    one, other = start.flatten(1).to(exact), end.flatten(1).to(exact)
    angle = _angles(one, other)
    if bool((angle > pi - PARALLEL).any()):
        raise ValueError("two draws are opposite, and no way between them is the shortest: go by a third")
    whole = angle.sin()
    near = angle < PARALLEL  # where sines are as their angles, and of a vector without direction
    before = torch.where(near, 1 - amount, ((1 - amount) * angle).sin() / whole)
    after = torch.where(near, amount, (amount * angle).sin() / whole)
    return (before * one + after * other).view_as(start).to(start.dtype)


def _angles(
    one: Float[Tensor, "batch numbers"], other: Float[Tensor, "batch numbers"]
) -> Float[Tensor, "batch 1"]:
    """Between the rows; 0 where one is all zeros. By the tangent of its half, which is exact for any angle.

    Kahan 2006, "How Futile are Mindless Assessments of Roundoff in Floating-Point Computation?", section 12; the
    cosine loses half the digits of small angles.
    """
    length, other_length = _lengths(one), _lengths(other)
    unit, other_unit = one / length, other / other_length
    angle = 2 * torch.atan2(_lengths(unit - other_unit), _lengths(unit + other_unit))
    return torch.where((length > 0) & (other_length > 0), angle, torch.zeros_like(angle))


def _lengths(rows: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch 1"]:
    return rows.square().sum(dim=1, keepdim=True).sqrt()
