"""A timestep as the network sees it: sines and cosines, then a small perceptron."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor, nn

LONGEST_PERIOD = 10_000  # the slowest wave's, over 2 pi, in timesteps


def timestep_embedding(timesteps: Real[Tensor, " batch"], dim: int = 320) -> Float[Tensor, "batch dim"]:
    """Sinusoidal embedding of timesteps: `dim / 2` cosines, then as many sines.

    Wave i of `half = dim / 2` has the angular frequency `10000 ** (-i / half)`: from one radian a timestep
    down to nearly a ten-thousandth. Values lie in [-1, 1]. The result is float32 whatever the timesteps'
    dtype, since half precision cannot tell large angles apart: cast it to the network's.

    Source: Vaswani et al., arXiv 1706.03762, section 3.5, with Stable Diffusion's order (cosines first).

    Raises:
        ValueError: `dim` is not a positive even number.
    """
    if dim < 2 or dim % 2:
        raise ValueError(f"timestep_embedding: dim must be a positive even number, not {dim}")
    half = dim // 2
    wave = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(wave * (-math.log(LONGEST_PERIOD) / half))
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """The perceptron that turns a timestep's waves into what every residual block is conditioned on."""

    def __init__(self, waves: int, width: int) -> None:
        """From `waves` inputs to `width` outputs."""
        super().__init__()
        self.linear1 = nn.Linear(waves, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, embedding: Float[Tensor, "batch waves"]) -> Float[Tensor, "batch width"]:
        """Linear, SiLU, linear, SiLU: activated here, once, since every residual block would."""
        return F.silu(self.linear2(F.silu(self.linear1(embedding))))
