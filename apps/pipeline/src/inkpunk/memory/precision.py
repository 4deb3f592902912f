"""In which precision networks compute."""

import torch

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
