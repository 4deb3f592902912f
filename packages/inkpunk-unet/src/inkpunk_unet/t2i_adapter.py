"""T2I-Adapter: a small network that reads a picture once, and joins its features to the UNet's way down.

Source: Mou et al., arXiv 2302.08453.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_unet.config import LIMITS, check_numbers
from inkpunk_unet.residuals import Residuals

FACTOR = 8
"""How many of the hint's pixels a side become one of the latents'."""
NOT_ONE = "not a T2I-Adapter's weights, or not under this package's names"


@dataclass(frozen=True)
class T2IAdapterConfig:
    """The shape of a T2I-Adapter; the defaults are those of Stable Diffusion v1.5's.

    Raises:
        ValueError: The numbers do not make a network.
    """

    hint_channels: int = 3
    """Channels of the hint; one for those of grey lines."""
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels at each level, which are the UNet's."""
    layers: int = 2
    """Residual blocks at each level."""
    light: bool = False
    """Whether each level works in a quarter of its channels, as the one for colours does."""

    def __post_init__(self) -> None:
        """Check that they are numbers of a network."""
        limits = {
            "hint_channels": LIMITS["in_channels"],
            "widths": LIMITS["widths"],
            "layers": LIMITS["layers"],
        }
        check_numbers(self, limits)
        if self.light and any(width % 4 for width in self.widths):
            raise ValueError(
                f"T2IAdapterConfig: widths of a light one must divide by 4, not {self.widths!r:.80}"
            )

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> "T2IAdapterConfig":
        """Read the config off a T2I-Adapter's weights; only their names and shapes are looked at.

        Raises:
            ValueError: These are not the weights of a T2I-Adapter, or not under this package's names.
        """
        light = "levels.0.conv_out.weight" in weights
        first = weights.get("levels.0.conv_in.weight" if light else "conv_in.weight")
        last = "conv_out" if light else "blocks.0.conv1"
        widths: list[int] = []
        while (wide := weights.get(f"levels.{len(widths)}.{last}.weight")) is not None and wide.ndim == 4:
            widths.append(wide.shape[0])
        layers = 0
        while f"levels.0.blocks.{layers}.conv1.weight" in weights:
            layers += 1
        if first is None or first.ndim != 4 or first.shape[1] % FACTOR**2:
            raise ValueError(
                f"T2IAdapterConfig.from_weights: no first convolution of a picture's pixels: {NOT_ONE}"
            )
        if not (widths and layers):
            raise ValueError(f"T2IAdapterConfig.from_weights: no block in the first level: {NOT_ONE}")
        return cls(first.shape[1] // FACTOR**2, tuple(widths), layers, light)


class AdapterBlock(nn.Module):
    """A 3x3 convolution, ReLU and a second convolution, with a shortcut around it all."""

    def __init__(self, width: int, kernel_size: int) -> None:
        """The second convolution's kernel is of `kernel_size`."""
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2)

    def forward(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The same shape, refined."""
        return image + self.conv2(F.relu(self.conv1(image)))


class AdapterLevel(nn.Module):
    """One resolution: halved if it is not the first, brought to its width, refined."""

    def __init__(self, config: T2IAdapterConfig, in_width: int, level: int) -> None:
        """Fed by `in_width` channels; a light one is narrow inside, and widens at its end."""
        super().__init__()
        width = config.widths[level]
        inner = width // 4 if config.light else width
        self.halves = level > 0
        converts = config.light or in_width != inner  # a light one always
        self.conv_in = nn.Conv2d(in_width, inner, kernel_size=1) if converts else nn.Identity()
        self.blocks = nn.Sequential(
            *(AdapterBlock(inner, kernel_size=3 if config.light else 1) for _ in range(config.layers))
        )
        self.conv_out = nn.Conv2d(inner, width, kernel_size=1) if config.light else nn.Identity()

    def forward(
        self, image: Float[Tensor, "batch in_width height width"]
    ) -> Float[Tensor, "batch channels _ _"]:
        """What this level's layer of the UNet is told."""
        if self.halves:
            # rounding up, as the UNet halves
            image = F.avg_pool2d(image, kernel_size=2, stride=2, ceil_mode=True)
        return self.conv_out(self.blocks(self.conv_in(image)))


class T2IAdapter(nn.Module):
    """Features of a hint for each level of a UNet, the same at every step.

    With the default config it has the 77,369,280 parameters of the v1.5 adapters.
    """

    def __init__(self, config: T2IAdapterConfig) -> None:
        """A network with freshly initialised weights."""
        super().__init__()
        self.config = config
        pixels, widths = config.hint_channels * FACTOR**2, config.widths
        # a light one has its first convolution in its first level
        self.conv_in = (
            nn.Identity() if config.light else nn.Conv2d(pixels, widths[0], kernel_size=3, padding=1)
        )
        in_widths = [pixels if config.light else widths[0], *widths]
        self.levels = nn.ModuleList(
            AdapterLevel(config, in_widths[level], level) for level in range(len(widths))
        )

    if TYPE_CHECKING:

        def __call__(self, hint: Float[Tensor, "batch hint_channels height width"]) -> Residuals:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(self, hint: Float[Tensor, "batch hint_channels height width"]) -> Residuals:
        """Tell what to add to a UNet's levels, once for all steps.

        Args:
            hint: values in [0, 1]; eight times as high and wide as the latents.

        Raises:
            ValueError: A shape that no such hint has.
        """
        channels = self.config.hint_channels
        if (
            hint.ndim != 4
            or hint.shape[1] != channels
            or any(not side or side % FACTOR for side in hint.shape[2:])
        ):
            raise ValueError(
                f"T2IAdapter: hint must be [batch, {channels}, height, width], each side a multiple of {FACTOR}, "
                f"not {list(hint.shape)}"
            )
        image: Tensor = self.conv_in(F.pixel_unshuffle(hint, FACTOR))
        features: list[Tensor] = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return Residuals(levels=tuple(features))
