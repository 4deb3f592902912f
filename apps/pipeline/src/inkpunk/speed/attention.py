"""Attention on a CPU in one pass over memory, by the kernels of attention.c, where a compiler can build them."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from inkpunk_unet import UNet
from inkpunk_unet.attention import Attention, attend
from inkpunk_winograd.building import build_library
from jaxtyping import Float
from torch import Tensor

WIDEST_HEAD = 512  # a task's queries of more channels would not fit every thread's stack


class Work(ctypes.Structure):
    """What attention.c calls Work."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "result", "keys")),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_long) for name in ("batch", "heads", "tokens", "context", "width")),
        *((f"{name}_strides", ctypes.c_long * 3) for name in ("query", "key", "value")),
        ("threads", ctypes.c_long),
    ]


class FastAttention(Attention):
    """The UNet's, by the native kernels wherever they can do it, and by torch's everywhere else."""

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """As the module in place of which it stands."""
        query, key, value = self.query(tokens), self.key(context), self.value(context)
        if all(map(_is_fit, (query, key, value))) and query.shape[-1] <= WIDEST_HEAD * self.heads:
            return self.out(native_attention(query, key, value, self.heads))
        gathered = attend(self._split_heads(query), self._split_heads(key), self._split_heads(value))
        return self.out(self._join_heads(gathered))


def native_attention(
    query: Float[Tensor, "batch tokens width"],
    key: Float[Tensor, "batch context width"],
    value: Float[Tensor, "batch context width"],
    heads: int,
) -> Float[Tensor, "batch tokens width"]:
    """Multi-head attention, `softmax(query key^T / sqrt(width / heads)) value` for each head, heads joined.

    Args:
        query: float32 on the CPU, contiguous, as all three are; a head's channels are neighbours.
        key: for each query head.
        value: for each key.
        heads: a divisor of the width, of at most `WIDEST_HEAD` channels each.

    Raises:
        RuntimeError: there is no library.
    """
    loaded = library()
    if loaded is None:
        raise RuntimeError("no native attention: it needs a C compiler with OpenMP")
    batch, tokens, width = query.shape
    result = torch.empty_like(query)
    work = Work(
        query=query.data_ptr(),
        key=key.data_ptr(),
        value=value.data_ptr(),
        result=result.data_ptr(),
        scale=(width // heads) ** -0.5,
        batch=batch,
        heads=heads,
        tokens=tokens,
        context=key.shape[1],
        width=width // heads,
        query_strides=_strides(query, heads),
        key_strides=_strides(key, heads),
        value_strides=_strides(value, heads),
        threads=torch.get_num_threads(),
    )
    room = query.new_empty(loaded.inkpunk_attention_room(ctypes.byref(work)))
    work.keys = room.data_ptr()
    loaded.inkpunk_attention_run(ctypes.byref(work))
    return result


def speed_attention(unet: UNet) -> None:
    """Put the fast attention in the place of a UNet's own, where there are kernels for it."""
    if library() is None:
        return
    for module in unet.modules():
        if type(module) is Attention:
            object.__setattr__(module, "__class__", FastAttention)


@cache
def library() -> ctypes.CDLL | None:
    """The kernels; None where they cannot be built."""
    loaded = build_library(Path(__file__).with_name("attention.c"))
    if loaded is not None:
        loaded.inkpunk_attention_room.argtypes = [ctypes.POINTER(Work)]
        loaded.inkpunk_attention_room.restype = ctypes.c_long
        loaded.inkpunk_attention_run.argtypes = [ctypes.POINTER(Work)]
        loaded.inkpunk_attention_run.restype = None
    return loaded


def _is_fit(tensor: Tensor) -> bool:
    return (
        type(tensor) is Tensor
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and tensor.is_contiguous()
        and not torch.is_grad_enabled()
    )


def _strides(tensor: Tensor, heads: int) -> ctypes.Array[ctypes.c_long]:
    batch, token, channel = tensor.stride()
    return (ctypes.c_long * 3)(batch, token, channel * (tensor.shape[2] // heads))
