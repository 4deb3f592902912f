"""The residual block: two convolutions, with the timestep added between them."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Norm, SiLU, 3x3 convolution, twice; conditioned on the time embedding; with a shortcut around it all.

    Source: Ho et al., arXiv 2006.11239, appendix B.
    """

    def __init__(self, in_width: int, width: int, time_width: int, groups: int) -> None:
        """From `in_width` to `width` channels, normalised in `groups` groups."""
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_width, eps=1e-5)
        self.conv1 = nn.Conv2d(in_width, width, kernel_size=3, padding=1)
        self.time = nn.Linear(time_width, width)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-5)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.shortcut = nn.Conv2d(in_width, width, kernel_size=1) if in_width != width else nn.Identity()

    def forward(
        self, image: Float[Tensor, "batch in_width height width"], time: Float[Tensor, "batch time_width"]
    ) -> Float[Tensor, "batch out_width height width"]:
        """Refine `image` given the activated time embedding."""
        hidden: Tensor = self.conv1(F.silu(self.norm1(image)))
        hidden = hidden + self.time(time)[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return self.shortcut(image) + hidden
