"""The UNet: down through the levels, along the bottom, and up again past the skips."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor, nn

from inkpunk_unet.config import UNetConfig
from inkpunk_unet.embedding import TimeEmbedding, timestep_embedding
from inkpunk_unet.levels import DownLevel, Middle, UpLevel
from inkpunk_unet.residuals import Residuals


class UNet(nn.Module):
    """The denoising network of Stable Diffusion v1: predicts the noise in noisy latents.

    With the default config it has the 859,520,964 parameters of the v1.5 checkpoint.

    Source: Rombach et al., arXiv 2112.10752, section 3 and appendix E.
    """

    def __init__(self, config: UNetConfig) -> None:
        """A network with freshly initialised weights (none at all under `torch.device("meta")`)."""
        super().__init__()
        self.config = config
        widths, last = config.widths, len(config.widths) - 1
        self.time_embedding = TimeEmbedding(widths[0], config.time_width)
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], kernel_size=3, padding=1)

        self.down = nn.ModuleList()
        skip_widths = [widths[0]]
        for level, width in enumerate(widths):
            self.down.append(DownLevel(config, skip_widths[-1], level))
            skip_widths += [width] * (config.layers + (level < last))

        self.middle = Middle(config)

        self.up = nn.ModuleList()
        in_width = widths[-1]
        for level in reversed(range(len(widths))):
            skips = [skip_widths.pop() for _ in range(config.layers + 1)]
            self.up.append(UpLevel(config, in_width, skips, level))
            in_width = widths[level]

        self.norm_out = nn.GroupNorm(config.groups, widths[0], eps=1e-5)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, kernel_size=3, padding=1)

    if TYPE_CHECKING:

        def __call__(
            self,
            latents: Float[Tensor, "batch in_channels height width"],
            timesteps: Real[Tensor, " batch"] | Real[Tensor, ""],
            context: Float[Tensor, "batch tokens context_width"],
            residuals: Residuals | None = None,
        ) -> Float[Tensor, "batch out_channels height width"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(
        self,
        latents: Float[Tensor, "batch in_channels height width"],
        timesteps: Real[Tensor, " batch"] | Real[Tensor, ""],
        context: Float[Tensor, "batch tokens context_width"],
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "batch out_channels height width"]:
        """Predict the noise in `latents`.

        Args:
            latents: Noisy latents of any height and width, of about unit variance. With nine input channels:
                four of noisy latents, one of mask, four of the masked image's latents.
            timesteps: How noisy each image is, 0 (hardly) to 999 (nothing else), whole or fractional; or one
                for all of them.
            context: What to draw, as CLIP's text encoder puts it; any number of tokens.
            residuals: What control networks add, several of them summed into one set; for every image of the
                batch (nothing is broadcast), in the latents' dtype (or autocast's).

        Returns:
            The noise, in the latents' dtype.

        Raises:
            ValueError: A shape, dtype or number of residuals that does not fit the network or the other arguments.
        """
        check_inputs(self.config, latents, timesteps, context)
        waves = timestep_embedding(timesteps.expand(latents.shape[0]), self.config.widths[0])
        time: Tensor = self.time_embedding(waves.to(latents.dtype))

        skips: list[Tensor] = [self.conv_in(latents)]
        for level in self.down:
            skips += level(skips[-1], time, context)
        hidden: Tensor = self.middle(skips[-1], time, context)
        if residuals is not None:
            skips, hidden = residuals.added_to(skips, hidden)
        for level in self.up:
            hidden = level(hidden, skips, time, context)
        return self.conv_out(F.silu(self.norm_out(hidden)))


def check_inputs(config: UNetConfig, latents: Tensor, timesteps: Tensor, context: Tensor) -> None:
    """Refuse in one line what would otherwise fail deep inside the network.

    Raises:
        ValueError: Saying which argument is wrong, what it is, and what it should be.
    """

    def refuse(must: str, value: Tensor) -> None:
        raise ValueError(f"UNet: {must}, not {list(value.shape)}")

    if latents.ndim != 4 or latents.shape[1] != config.in_channels or 0 in latents.shape:
        refuse(f"latents must be [batch, {config.in_channels}, height, width]", latents)
    batch = latents.shape[0]
    if timesteps.shape not in ((), (batch,)):
        refuse(f"timesteps must be [{batch}], or one scalar for all", timesteps)
    if context.ndim != 3 or context.shape[0] != batch or context.shape[2] != config.context_width:
        refuse(f"context must be [{batch}, tokens, {config.context_width}]", context)
    if context.shape[1] == 0:
        refuse("context must have at least one token", context)
    if context.dtype != latents.dtype:
        raise ValueError(
            f"UNet: latents are {latents.dtype} but context is {context.dtype}; cast one to the other"
        )
