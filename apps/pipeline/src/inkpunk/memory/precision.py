"""In which precision networks compute."""

import copy
import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from inkpunk_winograd import why_not_bfloat16
from torch import Tensor, nn

from inkpunk.memory.devices import DeviceError

Network = TypeVar("Network", bound=nn.Module)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_dtype(name: str, device: torch.device, *, plain: bool = False) -> torch.dtype:
    """Turn "auto" into half precision on an accelerator and float32 on a CPU, where half of it is a choice.

    A CPU that does not multiply bfloat16 faster than float32 gets float32 for it, and that is said, unless networks
    are `plain`: to be trained, say.

    Raises:
        DeviceError: for a name other than auto, float32, float16 and bfloat16.
    """
    if name == "auto":
        return torch.float16 if device.type in ("cuda", "mps") else torch.float32
    if name not in DTYPES:
        raise DeviceError(f"dtype {name!r}: use auto, {', '.join(DTYPES)}")
    if not plain and narrows(DTYPES[name], device) and (why := why_not_bfloat16()):
        logging.getLogger("inkpunk").warning("bfloat16: %s; float32 is faster here, and is taken", why)
        return torch.float32
    return DTYPES[name]


def narrows(precision: torch.dtype, device: torch.device) -> bool:
    """Whether networks in this precision take and give float32, and only multiply in theirs: bfloat16 on a CPU.

    What lies between products costs nothing there in float32, and errs less.
    """
    return device.type == "cpu" and precision is torch.bfloat16


class NotFiniteError(ValueError):
    """Infinity, or no number at all, where a picture should come of it; the message says where, and what to do."""


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a tensor is infinite, or none at all; of one without numbers, too."""
    if type(tensor) is not Tensor or tensor.is_meta or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor)  # finds what is not finite in one pass, without a copy
    return bool(low.isfinite() and high.isfinite())


def widened(network: Network, stage: str) -> Network:
    """A copy of a network in float32, for a stage whose float16 overflowed; says so."""
    logging.getLogger("inkpunk").warning("%s: overflows in float16, and is done again in float32", stage)
    return copy.deepcopy(network).float()


def finite(
    stage: str, network: Network, dtype: torch.dtype, work: Callable[[Network, torch.dtype], Tensor]
) -> Tensor:
    """What a stage's work gives; where it overflows in float16, what it gives in float32.

    Args:
        stage: what it is called.
        network: what works, in `dtype`.
        dtype: the precision it works in.
        work: takes the network, and the precision that it works in.

    Raises:
        NotFiniteError: where float32 gives no finite numbers either.
    """
    result = work(network, dtype)
    if dtype is torch.float16 and not is_finite(result):
        dtype = torch.float32
        result = work(widened(network, stage), dtype)
    refuse_not_finite(result, stage, dtype)
    return result


def refuse_not_finite(tensor: Tensor, stage: str, dtype: torch.dtype) -> None:
    """Let only finite numbers pass.

    Raises:
        NotFiniteError: naming the stage that they came from, and the precision it worked in.
    """
    if is_finite(tensor):
        return
    name = str(dtype).removeprefix("torch.")
    raise NotFiniteError(
        f"{stage}: gave numbers that are not finite, in {name}: a damaged weight, perhaps, which `inkpunk inspect "
        "FILE --finite` finds"
    )
