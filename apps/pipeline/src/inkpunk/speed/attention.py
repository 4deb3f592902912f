"""Attention on a CPU in one pass over memory, by inkpunk-winograd's kernels where there are any."""

from inkpunk_unet import UNetEncoder
from inkpunk_unet.attention import Attention, attend
from inkpunk_winograd import Inner, has_native_attention, is_fit_for_attention, native_attention, wrap
from torch import Tensor, nn


def natively(attention: Attention, inner: Inner, tokens: Tensor, context: Tensor) -> Tensor:
    """The UNet's, by the native kernels wherever they can do it, and by torch's everywhere else."""
    layers: tuple[nn.Linear, ...] = (attention.query, attention.key, attention.value)
    query, key, value = (
        layer(of).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for layer, of in zip(layers, (tokens, context, context), strict=True)
    )
    attended = (native_attention if is_fit_for_attention(query, key, value) else attend)(query, key, value)
    return attention.out(attended.transpose(1, 2).flatten(2))


def speed_attention(unet: UNetEncoder) -> None:
    """Have a UNet, or a ControlNet, attend natively, where there are kernels for it.

    `accelerate` would do so too, by watching for torch's attention, which here is known to be called.
    """
    for module in unet.modules() if has_native_attention() else ():
        if type(module) is Attention:
            wrap(module, natively)
