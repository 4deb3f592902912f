"""ControlNet: a copy of the UNet's first half that reads a picture, and tells the second half what it shows.

Source: Zhang, Rao and Agrawala, arXiv 2302.05543.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor, nn

from inkpunk_unet.config import LIMITS, UNetConfig, check_numbers
from inkpunk_unet.encoder import UNetEncoder, check_inputs
from inkpunk_unet.residuals import Residuals, added

HINT_WIDTHS = (16, 32, 96, 256)
"""Channels of the hint's encoder at the picture's size, and at a half, a quarter and an eighth of it."""


@dataclass(frozen=True)
class ControlNetConfig:
    """The shape of a ControlNet; the defaults are those of Stable Diffusion v1.5's.

    Raises:
        ValueError: The numbers do not make a network.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    """The UNet that it is for; what the way up alone has does not matter."""
    hint_channels: int = 3
    """Channels of the hint."""
    hint_widths: tuple[int, ...] = HINT_WIDTHS
    """Channels of its encoder, each at half the size of the one before; the last is the latents' size."""
    pooled: bool = False
    """Whether what it tells is averaged over the picture, as the one for shuffled pictures does."""

    def __post_init__(self) -> None:
        """Check that they are numbers of a network."""
        check_numbers(self, {"hint_channels": LIMITS["in_channels"], "hint_widths": LIMITS["widths"]})

    @property
    def factor(self) -> int:
        """How many of the hint's pixels a side become one of the latents'."""
        return 2 ** (len(self.hint_widths) - 1)

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, Tensor], *, heads: int = 8, groups: int = 32, pooled: bool = False
    ) -> "ControlNetConfig":
        """Read the config off a ControlNet's weights; only their names and shapes are looked at.

        Args:
            weights: Tensors under this package's own parameter names, as `ControlNet(...).state_dict()` has them.
            heads, groups, pooled: what shapes cannot tell.

        Raises:
            ValueError: These are not the weights of a ControlNet of this kind.
        """
        shapes: list[tuple[int, ...]] = []
        while (name := f"hint.convolutions.{len(shapes)}.weight") in weights:
            shapes.append(tuple(weights[name].shape))
        # one at each size, and one to the next; the last goes to the UNet's width
        if len(shapes) < 2 or len(shapes) % 2 or any(len(shape) != 4 for shape in shapes):
            raise ValueError(
                f"ControlNetConfig.from_weights: {len(shapes)} convolutions of a hint's encoder, where there are 8 "
                "in Stable Diffusion v1's: not a ControlNet's weights, or not under this package's names"
            )
        return cls(
            unet=UNetConfig.of_encoder(weights, heads=heads, groups=groups),
            hint_channels=shapes[0][1],
            hint_widths=tuple(shape[0] for shape in shapes[:-1:2]),
            pooled=pooled,
        )


class HintEncoder(nn.Module):
    """Brings a hint, a picture eight times as large as the latents, to the UNet's first width, by convolutions."""

    def __init__(self, config: ControlNetConfig) -> None:
        """The last convolution begins at zero, so that training begins with the UNet as it is."""
        super().__init__()
        widths = config.hint_widths
        convolutions = [nn.Conv2d(config.hint_channels, widths[0], kernel_size=3, padding=1)]
        for index, width in enumerate(widths):
            convolutions.append(nn.Conv2d(width, width, kernel_size=3, padding=1))
            if index + 1 < len(widths):
                convolutions.append(nn.Conv2d(width, widths[index + 1], kernel_size=3, stride=2, padding=1))
        convolutions[-1] = zero_convolution(widths[-1], config.unet.widths[0], kernel_size=3)
        self.convolutions = nn.ModuleList(convolutions)

    def forward(
        self, hint: Float[Tensor, "batch hint_channels height width"]
    ) -> Float[Tensor, "batch channels latent_height latent_width"]:
        """The hint's features."""
        *inner, last = self.convolutions
        for convolution in inner:
            hint = F.silu(convolution(hint))
        return last(hint)


class ControlNet(UNetEncoder):
    """A UNet's first half beside it, joined to it by convolutions that begin at zero.

    With the default config it has the 361,279,120 parameters of the v1.5 control networks.

    Source: Zhang et al., arXiv 2302.05543, section 3.
    """

    def __init__(self, config: ControlNetConfig) -> None:
        """A network with freshly initialised weights, and zeros where it meets the UNet."""
        super().__init__(config.unet)
        self.control_config = config
        self.hint = HintEncoder(config)
        self.zero_convs = nn.ModuleList(zero_convolution(width, width) for width in config.unet.skip_widths)
        self.middle_zero_conv = zero_convolution(config.unet.widths[-1], config.unet.widths[-1])

    if TYPE_CHECKING:

        def __call__(
            self,
            latents: Float[Tensor, "batch in_channels height width"],
            timesteps: Real[Tensor, " batch"] | Real[Tensor, ""],
            context: Float[Tensor, "batch tokens context_width"],
            hint_features: Float[Tensor, "batch channels height width"],
        ) -> Residuals:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def encode_hint(
        self, hint: Float[Tensor, "batch hint_channels height width"]
    ) -> Float[Tensor, "batch channels latent_height latent_width"]:
        """Encode a hint; once for all steps, since no timestep enters.

        Args:
            hint: values in [0, 1], as the network was trained with; eight times as high and wide as the latents.

        Raises:
            ValueError: A shape that no such hint has.
        """
        channels, factor = self.control_config.hint_channels, self.control_config.factor
        if (
            hint.ndim != 4
            or hint.shape[1] != channels
            or any(not side or side % factor for side in hint.shape[2:])
        ):
            raise ValueError(
                f"ControlNet: hint must be [batch, {channels}, height, width], each side a multiple of {factor}, "
                f"not {list(hint.shape)}"
            )
        return self.hint(hint)

    def forward(
        self,
        latents: Float[Tensor, "batch in_channels height width"],
        timesteps: Real[Tensor, " batch"] | Real[Tensor, ""],
        context: Float[Tensor, "batch tokens context_width"],
        hint_features: Float[Tensor, "batch channels height width"],
    ) -> Residuals:
        """Tell what to add to a UNet that is asked the same.

        Args:
            latents: noisy latents, as the UNet gets them.
            timesteps: as the UNet gets them.
            context: as the UNet gets it.
            hint_features: what `encode_hint` made of a hint for each of the latents.

        Raises:
            ValueError: A shape or dtype that does not fit the network or the other arguments.
        """
        check_inputs(self.config, latents, timesteps, context, "ControlNet")
        fitting = (latents.shape[0], self.config.widths[0], *latents.shape[2:])
        if hint_features.shape != fitting:
            raise ValueError(
                f"ControlNet: hint_features must be {list(fitting)}, for a hint eight times as high and wide as the "
                f"latents, not {list(hint_features.shape)}"
            )
        image: Tensor = self.conv_in(latents)
        image = added(image, hint_features, "ControlNet: hint_features")
        skips, hidden = self.encode(image, self.embed_time(latents, timesteps), context)
        told = [convolution(skip) for convolution, skip in zip(self.zero_convs, skips, strict=True)]
        told.append(self.middle_zero_conv(hidden))
        if self.control_config.pooled:
            told = [each.mean((2, 3), keepdim=True).expand_as(each) for each in told]
        return Residuals(tuple(told[:-1]), told[-1])


def guess_weights(count: int) -> tuple[float, ...]:
    """How much of each of `count` residuals counts in guess mode: a tenth of the first skip's, all of the middle's.

    Equal ratios between neighbours, as diffusers has them. In guess mode the hint leads and the prompt may be empty:
    what is coarse comes from the hint, what is fine is left to the UNet.
    """
    return tuple(10 ** (index / max(count - 1, 1) - 1) for index in range(count))


def zero_convolution(in_width: int, width: int, kernel_size: int = 1) -> nn.Conv2d:
    """A convolution that gives zeros until it is trained."""
    convolution = nn.Conv2d(in_width, width, kernel_size, padding=kernel_size // 2)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]  # it has one
    return convolution
