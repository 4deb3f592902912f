"""The UNet: down through the levels, along the bottom, and up again past the skips."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float, Real
from torch import Tensor, nn

from inkpunk_unet.config import UNetConfig
from inkpunk_unet.encoder import UNetEncoder, check_inputs
from inkpunk_unet.levels import UpLevel
from inkpunk_unet.residuals import Residuals


class UNet(UNetEncoder):
    """The denoising network of Stable Diffusion v1: predicts the noise in noisy latents.

    With the default config it has the 859,520,964 parameters of the v1.5 checkpoint.

    Source: Rombach et al., arXiv 2112.10752, section 3 and appendix E.
    """

    def __init__(self, config: UNetConfig) -> None:
        """A network with freshly initialised weights (none at all under `torch.device("meta")`)."""
        super().__init__(config)
        widths, skip_widths = config.widths, list(config.skip_widths)

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
        time = self.embed_time(latents, timesteps)
        added = () if residuals is None else residuals.levels
        skips, hidden = self.encode(self.conv_in(latents), time, context, added)
        if residuals is not None:
            skips, hidden = residuals.added_to(skips, hidden)
        for level in self.up:
            hidden = level(hidden, skips, time, context)
        return self.conv_out(F.silu(self.norm_out(hidden)))
