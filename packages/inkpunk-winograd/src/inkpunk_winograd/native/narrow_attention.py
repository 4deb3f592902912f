"""The kernels of narrow_attention.c: attention in one pass over memory, with products of bfloat16."""

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_winograd.native.library import functions
from inkpunk_winograd.native.products import has_tiles
from inkpunk_winograd.native.room import ROOM
from inkpunk_winograd.native.strides import strides_of
from inkpunk_winograd.native.team import Team, team_of
from inkpunk_winograd.native.threads import native_threads_for


class Work(ctypes.Structure):
    """What narrow_attention.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "result", "keys", "values", "own")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_ssize_t) for name in ("batch", "heads", "tokens", "context", "width")),
        *((f"{name}_strides", ctypes.c_ssize_t * 3) for name in ("query", "key", "value")),
        *((name, ctypes.c_ssize_t) for name in ("narrow", "tiles")),
        ("team", Team),
    ]


def narrow_attention(
    query: Float[Tensor, "batch heads tokens width"],
    key: Float[Tensor, "batch heads context width"],
    value: Float[Tensor, "batch heads context width"],
    *,
    scale: float,
    tiles: bool = True,
) -> Float[Tensor, "batch heads tokens width"]:
    """What `native_attention` gives, its factors rounded to bfloat16, its sums in float32.

    Args:
        query: float32 or bfloat16, as are `key`, `value` and what is returned.
        key: as `native_attention` takes it.
        value: one for each key.
        scale: above 0.
        tiles: multiply by tiles where the processor has them; else, and without, by vectors.

    Raises:
        RuntimeError: there are no kernels on this machine; it says why.
    """
    kernels = functions("narrow_attention")
    batch, heads, tokens, width = query.shape
    context = key.shape[2]
    result = torch.empty((batch, tokens, heads, width), dtype=query.dtype)
    work = Work(
        query=query.data_ptr(),
        key=key.data_ptr(),
        value=value.data_ptr(),
        result=result.data_ptr(),
        scale=scale,
        batch=batch,
        heads=heads,
        tokens=tokens,
        context=context,
        width=width,
        query_strides=strides_of(query),
        key_strides=strides_of(key),
        value_strides=strides_of(value),
        narrow=query.dtype is torch.bfloat16,
        tiles=tiles and has_tiles(),
        team=team_of(native_threads_for(2.0 * batch * heads * tokens * context * width)),
    )
    kernels.inkpunk_narrow_attention_room.restype = ctypes.c_ssize_t
    room = ROOM.take(-(-kernels.inkpunk_narrow_attention_room(ctypes.byref(work)) // 4))
    work.own = room.data_ptr()
    kernels.inkpunk_narrow_attention_run(ctypes.byref(work))
    return result.transpose(1, 2)
