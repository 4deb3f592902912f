"""Linear layers by oneDNN.

torch multiplies float32 matrices by the library it was built with, and adds the bias in a pass of its own; the oneDNN
that comes with torch does both in one. On an AMD processor with AVX-512 that is about a quarter faster; with AVX2
alone it is slower, by a tenth where matrices are large and up to twice where they are small.
"""

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

FAST = "AVX512"  # torch's name for the processors on which oneDNN wins

# torch.compile's own linear layer on CPUs; not documented, and so asked for by name.
_onednn: Any = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


def why_not_linear() -> str | None:
    """Why linear layers are better left to torch here, in a few words; None where oneDNN's are faster."""
    if _onednn is None:
        return "this torch has no oneDNN"
    processor = torch.backends.cpu.get_cpu_capability()
    return None if processor.startswith(FAST) else f"torch's own are faster on this processor ({processor})"


def linear(
    input: Float[Tensor, "*batch ins"],
    weight: Float[Tensor, "outs ins"],
    bias: Float[Tensor, " outs"] | None = None,
) -> Float[Tensor, "*batch outs"]:
    """`torch.nn.functional.linear`, but for rounding; of float32 on a CPU, two axes or more, and not empty.

    Not differentiable.
    """
    return cast(Tensor, _onednn(input.contiguous(), weight, bias, "none", [], ""))
