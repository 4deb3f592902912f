"""What stays the same from step to step, or from picture to picture, computed once.

A memo belongs to one layer of one network, and holds what was computed, not what is being computed: threads may share
it, and at worst compute the same twice.
"""

from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any, cast

from inkpunk_unet import UNetEncoder
from inkpunk_unet.attention import TransformerBlock
from inkpunk_unet.embedding import TimeEmbedding
from inkpunk_unet.residual import ResidualBlock
from inkpunk_winograd import Inner, is_plain_inference, wrap
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

TIMESTEPS = 128  # the last so many are remembered; each takes 170 kB


class Memo:
    """A layer's results by the tensor they were computed from.

    They are kept for as long as that tensor lives, and given while neither it nor the layer's weights change.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._known = cast("MutableMapping[Tensor, tuple[Any, Tensor]]", WeakTensorKeyDictionary())

    def __call__(self, layer: nn.Module, inner: Inner, tensor: Tensor) -> Tensor:
        """What the layer gives, computed unless it is known."""
        if not is_plain_inference(tensor):
            return inner(layer, tensor)
        state = (_state(tensor), *map(_state, layer.parameters()))
        known = self._known.get(tensor)
        if known is None or known[0] != state:
            known = (state, inner(layer, tensor))
            self._known[tensor] = known
        return known[1]

    def __reduce__(self) -> tuple[type["Memo"], tuple[()]]:
        return Memo, ()  # a copy remembers for itself


class TimestepMemo:
    """The time embedding's results for the last timesteps: for the same one, the very same tensor."""

    def __init__(self) -> None:
        """Begin with none."""
        self.known: OrderedDict[bytes, tuple[Any, Tensor]] = OrderedDict()

    def __call__(self, layer: TimeEmbedding, inner: Inner, embedding: Tensor) -> Tensor:
        """What the layer gives, computed unless it is known."""
        if not is_plain_inference(embedding):
            return inner(layer, embedding)
        key = f"{embedding.dtype}{tuple(embedding.shape)}".encode() + embedding.float().numpy().tobytes()
        state = tuple(map(_state, layer.parameters()))
        found = self.known.pop(key, None)
        if found is None or found[0] != state:
            found = (state, inner(layer, embedding))
        self.known[key] = found  # as the latest
        while len(self.known) > TIMESTEPS:
            self.known.popitem(last=False)
        return found[1]

    def __reduce__(self) -> tuple[type["TimestepMemo"], tuple[()]]:
        return TimestepMemo, ()


def _state(tensor: Tensor) -> tuple[int, int]:
    """What changes when a tensor's numbers do; those made in inference mode cannot be watched."""
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


def remember_what_stays(unet: UNetEncoder) -> None:
    """Have a UNet, or a ControlNet, remember what depends on the prompt alone, or on the timestep alone."""
    for module in unet.modules():
        if isinstance(module, TimeEmbedding):
            wrap(module, TimestepMemo())
        elif isinstance(module, ResidualBlock):
            wrap(module.time, Memo())
        elif isinstance(module, TransformerBlock):
            for layer in (module.cross_attention.key, module.cross_attention.value):
                wrap(layer, Memo())
