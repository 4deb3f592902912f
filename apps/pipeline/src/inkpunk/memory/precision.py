"""In which precision networks compute."""

import torch
from torch import Tensor

from inkpunk.memory.devices import DeviceError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Turn "auto" into half precision on an accelerator and float32 on a CPU, which has no fast half.

    Raises:
        DeviceError: for a name other than auto, float32, float16 and bfloat16.
    """
    if name == "auto":
        return torch.float16 if device.type in ("cuda", "mps") else torch.float32
    if name not in DTYPES:
        raise DeviceError(f"dtype {name!r}: use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


class NotFiniteError(ValueError):
    """Infinity, or no number at all, where a picture should come of it; the message says where, and what to do."""


def refuse_not_finite(tensor: Tensor, stage: str, dtype: torch.dtype) -> None:
    """Let only finite numbers pass.

    Raises:
        NotFiniteError: naming the stage that they came from, and the precision it worked in.
    """
    if type(tensor) is not Tensor or tensor.is_meta:  # which has no numbers
        return
    low, high = torch.aminmax(tensor)  # finds what is not finite in one pass, without a copy
    if low.isfinite() and high.isfinite():
        return
    name = str(dtype).removeprefix("torch.")
    wider = "an overflow, perhaps: try --dtype float32; or " if dtype is torch.float16 else ""
    raise NotFiniteError(
        f"{stage}: gave numbers that are not finite, in {name}: {wider}a damaged weight, which `inkpunk inspect "
        "FILE --finite` finds"
    )
