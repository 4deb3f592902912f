"""The kernels of attention.c: attention in one pass over memory."""

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_winograd.inference import is_plain_inference
from inkpunk_winograd.native.library import functions, load
from inkpunk_winograd.native.narrow_attention import narrow_attention
from inkpunk_winograd.native.products import why_no_native_products
from inkpunk_winograd.native.strides import strides_of
from inkpunk_winograd.native.team import Team, team_of
from inkpunk_winograd.native.threads import native_threads_for

WIDEST_HEAD = 512  # a task's queries of more channels would not fit every thread's stack


class Work(ctypes.Structure):
    """What attention.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "result", "keys")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_ssize_t) for name in ("batch", "heads", "tokens", "context", "width")),
        *((f"{name}_strides", ctypes.c_ssize_t * 3) for name in ("query", "key", "value")),
        ("team", Team),
    ]


def has_native_attention() -> bool:
    """Whether this machine has the kernels."""
    return load("attention").functions is not None


def native_attention(
    query: Float[Tensor, "batch heads tokens width"],
    key: Float[Tensor, "batch heads context width"],
    value: Float[Tensor, "batch heads context width"],
    *,
    scale: float | None = None,
    products: torch.dtype = torch.float32,
) -> Float[Tensor, "batch heads tokens width"]:
    """`softmax(query key^T scale) value`, head by head, as `torch.nn.functional.scaled_dot_product_attention`.

    Not differentiable. In memory the result is [batch, tokens, heads, width], so that joining the heads is free.

    Args:
        query: float32 on the CPU, a head's channels neighbours, of at most `WIDEST_HEAD` channels; any other strides.
        key: likewise, and so is `value`.
        value: one for each key.
        scale: 1 / sqrt(width), if None.
        products: torch.bfloat16 rounds what is multiplied to it, and takes queries of bfloat16, too, as
            `is_fit_for_attention` says for the same argument.

    Raises:
        RuntimeError: there are no kernels on this machine; it says why.
    """
    if products is torch.bfloat16:
        return narrow_attention(query, key, value, scale=query.shape[3] ** -0.5 if scale is None else scale)
    kernels = functions("attention")
    batch, heads, tokens, width = query.shape
    context = key.shape[2]
    result = torch.empty((batch, tokens, heads, width), dtype=query.dtype)
    work = Work(
        query=query.data_ptr(),
        key=key.data_ptr(),
        value=value.data_ptr(),
        result=result.data_ptr(),
        scale=width**-0.5 if scale is None else scale,
        batch=batch,
        heads=heads,
        tokens=tokens,
        context=context,
        width=width,
        query_strides=strides_of(query),
        key_strides=strides_of(key),
        value_strides=strides_of(value),
        team=team_of(native_threads_for(2.0 * batch * heads * tokens * context * width)),
    )
    kernels.inkpunk_attention_room.restype = ctypes.c_ssize_t
    room = torch.empty(kernels.inkpunk_attention_room(ctypes.byref(work)), dtype=query.dtype)
    work.keys = room.data_ptr()
    kernels.inkpunk_attention_run(ctypes.byref(work))
    return result.transpose(1, 2)


def is_fit_for_attention(
    query: Tensor, key: Tensor, value: Tensor, products: torch.dtype = torch.float32
) -> bool:
    """Whether the kernels may be used: for plain inference, of shapes they take. What is wrong, torch says best."""
    dtypes = {torch.float32, products}
    if (
        not is_plain_inference(query, key, value)
        or query.ndim != 4
        or query.dtype not in dtypes
        or not query.dtype == key.dtype == value.dtype
        or (products is torch.bfloat16 and why_no_native_products() is not None)
    ):
        return False
    batch, heads, tokens, width = query.shape
    context = key.shape[2:3]
    return (
        key.shape == (batch, heads, *context, width)
        and value.shape == key.shape
        and 0 < width <= WIDEST_HEAD
        and batch * heads * tokens * context[0] > 0
        and query.stride(3) == key.stride(3) == value.stride(3) == 1
    )
