"""The layers of encoder and decoder: functions of feature maps [batch, channels, height, width]."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-6
"""What every GroupNorm adds to the variance (torch's own default is ten times larger)."""


class ResidualBlock(nn.Module):
    """Two rounds of GroupNorm, SiLU and a 3x3 convolution, added to what came in."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        """Build a block; `groups` divides both channel counts."""
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPSILON)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels, EPSILON)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels height width"]:
        """The block's output, at the same resolution."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """Every pixel looks at every other: self-attention with a single head as wide as the map is deep."""

    def __init__(self, channels: int, groups: int) -> None:
        """Build the layer; `groups` divides `channels`."""
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPSILON)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The map plus what its pixels gathered from each other."""
        pixels = self.norm(x).flatten(2).transpose(1, 2).unsqueeze(1)  # batch, head, pixel, channel
        gathered = F.scaled_dot_product_attention(self.query(pixels), self.key(pixels), self.value(pixels))
        return x + self.out(gathered).squeeze(1).transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """Halves height and width, both even, by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        """Build the layer."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels half_height half_width"]:
        """The map at half its resolution."""
        # The checkpoints were trained with zeros on the right and at the bottom only.
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width: each pixel becomes four, then a convolution smooths."""

    def __init__(self, channels: int) -> None:
        """Build the layer."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels twice_height twice_width"]:
        """The map at twice its resolution."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class DownLevel(nn.Module):
    """One resolution of the encoder: residual blocks, then down to the next unless it is the last."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, *, last: bool) -> None:
        """Build `layers` blocks, the first of which changes the channels."""
        super().__init__()
        self.resnets = _residual_blocks(in_channels, out_channels, layers, groups)
        self.downsample = nn.Identity() if last else Downsample(out_channels)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels next_height next_width"]:
        """The next level's input."""
        return self.downsample(self.resnets(x))


class UpLevel(nn.Module):
    """One resolution of the decoder: residual blocks, then up to the next unless it is the last."""

    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, *, last: bool) -> None:
        """Build `layers` blocks, the first of which changes the channels."""
        super().__init__()
        self.resnets = _residual_blocks(in_channels, out_channels, layers, groups)
        self.upsample = nn.Identity() if last else Upsample(out_channels)

    def forward(
        self, x: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels next_height next_width"]:
        """The next level's input."""
        return self.upsample(self.resnets(x))


class Middle(nn.Module):
    """The lowest resolution, where the whole image is seen at once."""

    def __init__(self, channels: int, groups: int) -> None:
        """Build a residual block, an attention and another residual block."""
        super().__init__()
        self.resnets = _residual_blocks(channels, channels, 2, groups)
        self.attention = Attention(channels, groups)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The map, each pixel now informed by all."""
        before, after = self.resnets
        return after(self.attention(before(x)))


def _residual_blocks(in_channels: int, out_channels: int, layers: int, groups: int) -> nn.Sequential:
    channels = [in_channels, *[out_channels] * layers]
    return nn.Sequential(*(ResidualBlock(before, after, groups) for before, after in pairwise(channels)))
