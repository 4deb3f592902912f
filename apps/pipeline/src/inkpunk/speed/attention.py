"""Attention on a CPU in one pass over memory, by inkpunk-winograd's kernels where there are any."""

from dataclasses import dataclass

import torch
from inkpunk_unet import UNetEncoder
from inkpunk_unet.attention import Attention, attend
from inkpunk_winograd import Inner, has_native_attention, is_fit_for_attention, native_attention, wrap
from jaxtyping import Float
from torch import Tensor, nn


# eq=False: each is one change to one module, and is found by itself
@dataclass(frozen=True, eq=False)
class Natively:
    """The UNet's attention, by the native kernels wherever they can do it, and by torch's everywhere else.

    Attributes:
        products: what they multiply in.
    """

    products: torch.dtype = torch.float32

    def __call__(self, attention: Attention, inner: Inner, tokens: Tensor, context: Tensor) -> Tensor:
        """As the attention does."""
        layers: tuple[nn.Linear, ...] = (attention.query, attention.key, attention.value)
        query, key, value = (
            layer(of).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for layer, of in zip(layers, (tokens, context, context), strict=True)
        )
        return attention.out(self.attend(query, key, value).transpose(1, 2).flatten(2))

    def attend(
        self,
        query: Float[Tensor, "batch heads tokens width"],
        key: Float[Tensor, "batch heads context width"],
        value: Float[Tensor, "batch heads context width"],
    ) -> Float[Tensor, "batch heads tokens width"]:
        """Scaled dot-product attention."""
        if is_fit_for_attention(query, key, value, self.products):
            return native_attention(query, key, value, products=self.products)
        return attend(query, key, value)


def speed_attention(unet: UNetEncoder, products: torch.dtype = torch.float32) -> None:
    """Have a UNet, or a ControlNet, attend natively, where there are kernels for it.

    `accelerate` would do so too, by watching for torch's attention, which here is known to be called.
    """
    for module in unet.modules() if has_native_attention() else ():
        if type(module) is Attention:
            wrap(module, Natively(products))
