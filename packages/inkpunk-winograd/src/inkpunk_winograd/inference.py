"""Whether a call is plain inference on a CPU: nothing but numbers is wanted of it, and nobody looks on.

Every fast way here works on the numbers themselves. Whoever follows operations instead, to record, transform or
differentiate them (torch.compile, jit.trace, make_fx, vmap, forward-mode derivatives, modes of any kind), would miss
what it does. So then the module's own way is taken, and they see what they know.
"""

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

_C: Any = torch._C  # pyright: ignore[reportPrivateUsage]  # who looks on is told nowhere else
_forward_ad: Any = forward_ad


class Interception(TorchFunctionMode):
    """A mode of our own, which does not count as looking on."""


def is_plain_inference(*tensors: Tensor | None) -> bool:
    """Whether these tensors are to be computed with, and no more."""
    # first, since torch.compile would trace all that follows
    if torch.compiler.is_compiling() or _is_watched():
        return False
    wants_gradients, plain = torch.is_grad_enabled(), _plain_keys()
    for tensor in tensors:
        if tensor is not None and not (
            (type(tensor) is Tensor or type(tensor) is nn.Parameter)  # not a fake one, nor anybody's own kind
            and _keys(tensor) in plain
            and not (wants_gradients and tensor.requires_grad)
        ):
            return False
    return True


def _keys(tensor: Tensor) -> int:
    """All that torch chooses an operation by: device and layout, negated, nested, vectorised, traced, and so on."""
    return _C._dispatch_keys(tensor).raw_repr()


@cache
def _plain_keys() -> frozenset[int]:
    """Of tensors that are nothing but numbers in a CPU's memory; asked for only where no mode would make others."""
    with torch.device("cpu"), torch.inference_mode():
        born_in_inference = _keys(torch.empty(0))
    with torch.device("cpu"), torch.inference_mode(False):
        return frozenset({born_in_inference, _keys(torch.empty(0))})


def _is_watched() -> bool:
    return bool(
        _C._len_torch_dispatch_stack()
        or _C._get_tracing_state() is not None
        or _C._functorch.peek_interpreter_stack() is not None
        or _forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
        or (_C._len_torch_function_stack() and not _are_ours_alone())
    )


def _are_ours_alone() -> bool:
    """Whether no mode is on but ours, and `with torch.device(...)`, which is one too."""
    modes = (_C._get_function_stack_at(place) for place in range(_C._len_torch_function_stack()))
    return all(isinstance(cast(object, mode), Interception | DeviceContext) for mode in modes)
