"""Linear layers by oneDNN.

torch multiplies float32 matrices by the library it was built with, and adds the bias in a pass of its own; the oneDNN
that comes with torch does both in one, on AMD's processors about a quarter faster.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# torch.compile's own linear layer on CPUs; not documented, and so asked for by name.
_onednn: Any = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


class FastLinear(nn.Linear):
    """A linear layer that takes oneDNN's way where there is one, and torch's otherwise."""

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Linear` does, but for rounding."""
        if not (
            _onednn is not None
            and type(input) is Tensor
            and input.device.type == "cpu"
            and input.dtype == self.weight.dtype == torch.float32
            and input.ndim >= 2
            and input.numel()
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        ):
            return F.linear(input, self.weight, self.bias)
        return cast(Tensor, _onednn(input.contiguous(), self.weight, self.bias, "none", [], ""))


def speed_linears(network: nn.Module) -> None:
    """Make every plain linear layer of a network a fast one, in place."""
    for module in network.modules():
        if type(module) is nn.Linear:
            object.__setattr__(module, "__class__", FastLinear)
