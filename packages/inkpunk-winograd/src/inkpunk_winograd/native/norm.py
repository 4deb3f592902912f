"""The kernels of norm.c: group normalisation of pictures that are channels last, and SiLU with it."""

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_winograd.inference import is_plain_inference
from inkpunk_winograd.native.library import functions, load
from inkpunk_winograd.native.team import Team, team_of
from inkpunk_winograd.native.threads import native_threads_for

MULTIPLE = 16  # of channels, the most that a register holds
MOST_CHANNELS = 4096
BLOCK = 32768  # numbers that a core's cache holds
PRODUCTS = 10.0  # what a number costs, in multiply-adds


class Work(ctypes.Structure):
    """What norm.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "factors", "told", "result")),
        *((name, ctypes.c_ssize_t) for name in ("batch", "pixels", "channels", "groups", "block", "silu")),
        ("team", Team),
    ]


def is_fit_for_group_norm(x: Tensor) -> bool:
    """Whether the kernels may be used: for plain inference in float32 of pictures that are channels last."""
    return (
        is_plain_inference(x)
        and x.dtype is torch.float32
        and x.ndim == 4
        and x.numel() > 0
        and x.shape[1] % MULTIPLE == 0
        and x.shape[1] <= MOST_CHANNELS
        and x.is_contiguous(memory_format=torch.channels_last)
        and load("norm").functions is not None
    )


def native_group_norm(
    x: Float[Tensor, "batch channels height width"],
    groups: int,
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    epsilon: float = 1e-5,
    *,
    silu: bool = False,
    in_place: bool = False,
) -> Float[Tensor, "batch channels height width"]:
    """`torch.nn.functional.group_norm` of pictures, in two passes over memory; no bit depends on how many threads.

    Not differentiable.

    Args:
        x: as `is_fit_for_group_norm` says.
        groups: a divisor of the channels.
        weight: of any floating dtype.
        bias: likewise.
        epsilon: is added to variances.
        silu: apply it to the result, in the same pass.
        in_place: write over `x`, and return it.

    Raises:
        RuntimeError: there are no kernels on this machine; it says why.
        ValueError: for pictures that are not fit, or groups that do not divide the channels.
    """
    kernels = functions("norm")
    if not is_fit_for_group_norm(x) or x.shape[1] % groups:
        raise ValueError(
            f"{x.dtype} of {list(x.shape)} in {groups} groups: is not fit for the native kernels"
        )
    batch, channels, height, width = x.shape
    result = x if in_place else torch.empty_like(x, memory_format=torch.channels_last)
    pixels, block = height * width, max(1, BLOCK // channels)
    counts = torch.full((-(-pixels // block),), float(block), dtype=torch.float64)
    counts[-1] = pixels - block * (len(counts) - 1)
    told = torch.empty((batch, len(counts), groups, 2))
    work = Work(
        x=x.data_ptr(),
        told=told.data_ptr(),
        result=result.data_ptr(),
        batch=batch,
        pixels=pixels,
        channels=channels,
        groups=groups,
        block=block,
        silu=silu,
        team=team_of(native_threads_for(PRODUCTS * x.numel())),
    )
    kernels.inkpunk_norm_tell(ctypes.byref(work))
    factors = _factors(told.double(), counts, channels // groups, weight.double(), bias.double(), epsilon)
    work.factors = factors.data_ptr()
    kernels.inkpunk_norm_give(ctypes.byref(work))
    return result


def _factors(
    told: Float[Tensor, "batch blocks groups 2"],
    counts: Float[Tensor, " blocks"],
    each: int,
    weight: Float[Tensor, " channels"],
    bias: Float[Tensor, " channels"],
    epsilon: float,
) -> Float[Tensor, "batch 2 channels"]:
    """What each channel is multiplied with, and what is added: blocks of so many pixels have told, in float64.

    A whole's variance is the mean of its parts', and the variance of their means (Chan et al., 1979).
    """
    means, squares = told.unbind(3)
    shares = (counts / counts.sum()).view(1, -1, 1)
    mean = (shares * means).sum(1, keepdim=True)
    variance = (squares.sum(1, keepdim=True) / (each * counts.sum())) + (
        shares * (means - mean).square()
    ).sum(1, keepdim=True)
    factor = (variance + epsilon).rsqrt().repeat_interleave(each, dim=2) * weight
    shift = bias - mean.repeat_interleave(each, dim=2) * factor
    return torch.cat([factor, shift], dim=1).float()
