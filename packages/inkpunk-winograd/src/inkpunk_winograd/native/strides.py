"""Tensors' strides, as the kernels take them."""

import ctypes

from torch import Tensor


def strides_of(heads: Tensor) -> ctypes.Array[ctypes.c_ssize_t]:
    """From image to image, token to token and head to head."""
    batch, head, token, _ = heads.stride()
    return (ctypes.c_ssize_t * 3)(batch, token, head)
