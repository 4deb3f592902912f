"""Linear layers by oneDNN.

torch multiplies float32 matrices by the library it was built with, and adds the bias in a pass of its own; the oneDNN
that comes with torch does both in one, on an AMD processor with AVX-512 about a quarter faster.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

# torch.compile's own linear layer on CPUs; not documented, and so asked for by name.
_onednn: Any = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


def has_linear() -> bool:
    """Whether this torch has oneDNN's way."""
    return _onednn is not None


def linear(
    input: Float[Tensor, "*batch ins"],
    weight: Float[Tensor, "outs ins"],
    bias: Float[Tensor, " outs"] | None = None,
) -> Float[Tensor, "*batch outs"]:
    """`torch.nn.functional.linear`, but for rounding; of float32 on a CPU, two axes or more, and not empty.

    Not differentiable.
    """
    return cast(Tensor, _onednn(input.contiguous(), weight, bias, "none", [], ""))
