"""What stays the same from step to step, or from picture to picture, computed once."""

from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import torch.nn.functional as F
from inkpunk_unet import UNet
from inkpunk_unet.attention import TransformerBlock
from inkpunk_unet.embedding import TimeEmbedding
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from inkpunk.speed.blocks import FastResidualBlock

TIMESTEPS = 128  # the last so many are remembered; each takes 170 kB


class Memo:
    """A function's results by the tensor they were computed from.

    They are kept for as long as that tensor lives, and given while neither it nor the function's weights change.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], weights: nn.Module | None = None) -> None:
        """Of a function, and of the module whose parameters it uses."""
        self._function = function
        self._weights = weights
        self._known = cast("MutableMapping[Tensor, tuple[Any, Tensor]]", WeakTensorKeyDictionary())

    def __call__(self, tensor: Tensor) -> Tensor:
        """The function's result, computed unless it is known."""
        if type(tensor) is not Tensor:  # a fake one, say: its results mean nothing elsewhere
            return self._function(tensor)
        weights = self._weights.parameters() if self._weights is not None else ()
        state = (_state(tensor), *map(_state, weights))
        known = self._known.get(tensor)
        if known is None or known[0] != state:
            known = (state, self._function(tensor))
            self._known[tensor] = known
        return known[1]


def _state(tensor: Tensor) -> tuple[int, int]:
    """What changes when a tensor's numbers do; those made in inference mode cannot be watched."""
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


class RememberingTimeEmbedding(TimeEmbedding):
    """The UNet's, remembering the last timesteps: for the same one, the very same tensor."""

    known: OrderedDict[bytes, tuple[Any, Tensor]]

    def forward(self, embedding: Tensor) -> Tensor:
        """As the module in place of which it stands."""
        if type(embedding) is not Tensor or embedding.device.type != "cpu":
            return super().forward(embedding)
        key = f"{embedding.dtype}{tuple(embedding.shape)}".encode() + embedding.float().numpy().tobytes()
        state = tuple(map(_state, self.parameters()))
        found = self.known.pop(key, None)
        if found is None or found[0] != state:
            found = (state, super().forward(embedding))
        self.known[key] = found  # as the latest
        while len(self.known) > TIMESTEPS:
            self.known.popitem(last=False)
        return found[1]


def remember_what_stays(unet: UNet) -> None:
    """Have a UNet remember what depends on the prompt alone, or on the timestep alone, in place.

    The latter for the residual blocks that `work_in_place` has replaced.
    """
    activate = Memo(F.silu)
    for module in unet.modules():
        if isinstance(module, TimeEmbedding):
            object.__setattr__(module, "__class__", RememberingTimeEmbedding)
            vars(module)["known"] = OrderedDict()
        # in the instance's own dictionary, where they stand before the methods of its class
        elif isinstance(module, FastResidualBlock):
            vars(module)["activate"] = activate
            vars(module)["project"] = Memo(module.project, module.time)
        elif isinstance(module, TransformerBlock):
            for layer in (module.cross_attention.key, module.cross_attention.value):
                vars(layer)["forward"] = Memo(layer.forward, layer)
