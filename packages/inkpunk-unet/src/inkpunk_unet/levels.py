"""The levels of the U: one resolution each, on the way down, at the bottom, and on the way up."""

from collections.abc import Sequence
from itertools import zip_longest

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_unet.attention import SpatialTransformer
from inkpunk_unet.config import UNetConfig
from inkpunk_unet.residual import ResidualBlock
from inkpunk_unet.residuals import added


class Downsample(nn.Module):
    """Halves height and width, rounding up, by a strided convolution."""

    def __init__(self, width: int) -> None:
        """For images of `width` channels."""
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1)

    def forward(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels half_height half_width"]:
        """The image at half the size."""
        return self.conv(image)


class Upsample(nn.Module):
    """Enlarges an image to a given size by repeating pixels, then smooths by a convolution."""

    def __init__(self, width: int) -> None:
        """For images of `width` channels."""
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size=3, padding=1)

    def forward(
        self, image: Float[Tensor, "batch channels height width"], size: Sequence[int]
    ) -> Float[Tensor, "batch channels new_height new_width"]:
        """The image at `size` = (height, width): twice as large, or one less where that size is odd."""
        return self.conv(F.interpolate(image, size=list(size), mode="nearest"))


class DownLevel(nn.Module):
    """One level on the way down: residual blocks, each followed by a transformer if the level attends."""

    def __init__(self, config: UNetConfig, in_width: int, level: int) -> None:
        """Level `level` of the config, counted from the finest, fed by `in_width` channels."""
        super().__init__()
        width = config.widths[level]
        self.resnets = residual_blocks(config, [in_width] + [width] * (config.layers - 1), width)
        self.attentions = transformers(config, level, config.layers)
        self.downsample = Downsample(width) if level < len(config.widths) - 1 else None

    def forward(
        self,
        image: Float[Tensor, "batch in_width height width"],
        time: Float[Tensor, "batch time_width"],
        context: Float[Tensor, "batch tokens context_width"],
        extra: Float[Tensor, "_ _ _ _"] | None = None,
    ) -> list[Float[Tensor, "batch channels _ _"]]:
        """What the way up will need, in order; the last is what the next level reads.

        What comes as `extra`, from a T2I-Adapter, joins the last layer's.
        """
        skips: list[Tensor] = []
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            image = resnet(image, time)
            if attention is not None:
                image = attention(image, context)
            skips.append(image)
        if extra is not None:
            skips[-1] = image = added(image, extra, "UNet: each of residuals.levels")
        if self.downsample is not None:
            skips.append(self.downsample(image))
        return skips


class Middle(nn.Module):
    """The bottom of the U: a transformer, whatever the levels do, between two residual blocks."""

    def __init__(self, config: UNetConfig) -> None:
        """At the deepest level's width."""
        super().__init__()
        width = config.widths[-1]
        self.resnets = residual_blocks(config, [width, width], width)
        self.attention = SpatialTransformer(width, config.context_width, config.heads, config.groups)

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        time: Float[Tensor, "batch time_width"],
        context: Float[Tensor, "batch tokens context_width"],
    ) -> Float[Tensor, "batch channels height width"]:
        """The same shape, refined."""
        image = self.resnets[0](image, time)
        image = self.attention(image, context)
        return self.resnets[1](image, time)


class UpLevel(nn.Module):
    """One level on the way up: as on the way down with one more layer, each first joined by a skip."""

    def __init__(self, config: UNetConfig, in_width: int, skip_widths: Sequence[int], level: int) -> None:
        """Level `level` of the config, counted from the finest, with one layer for each skip it will read."""
        super().__init__()
        width = config.widths[level]
        trunk_widths = [in_width] + [width] * (len(skip_widths) - 1)
        joined = [trunk + skip for trunk, skip in zip(trunk_widths, skip_widths, strict=True)]
        self.resnets = residual_blocks(config, joined, width)
        self.attentions = transformers(config, level, len(skip_widths))
        self.upsample = Upsample(width) if level > 0 else None

    def forward(
        self,
        image: Float[Tensor, "batch in_width height width"],
        skips: list[Float[Tensor, "batch _ _ _"]],
        time: Float[Tensor, "batch time_width"],
        context: Float[Tensor, "batch tokens context_width"],
    ) -> Float[Tensor, "batch channels _ _"]:
        """Takes its skips off the end of `skips`; comes out at the size of the skip that is then last."""
        for resnet, attention in zip_longest(self.resnets, self.attentions):
            image = resnet(torch.cat([image, skips.pop()], dim=1), time)
            if attention is not None:
                image = attention(image, context)
        if self.upsample is not None:
            # Halving rounds up, so doubling may overshoot: an odd size is met by asking the skip.
            image = self.upsample(image, skips[-1].shape[2:])
        return image


def residual_blocks(config: UNetConfig, in_widths: Sequence[int], width: int) -> nn.ModuleList:
    """Blocks in a row, one for each width that comes in."""
    return nn.ModuleList(
        ResidualBlock(in_width, width, config.time_width, config.groups) for in_width in in_widths
    )


def transformers(config: UNetConfig, level: int, count: int) -> nn.ModuleList:
    """As many transformers as the level has layers, or none if it does not attend."""
    width = config.widths[level]
    return nn.ModuleList(
        SpatialTransformer(width, config.context_width, config.heads, config.groups)
        for _ in range(count if config.attention[level] else 0)
    )
