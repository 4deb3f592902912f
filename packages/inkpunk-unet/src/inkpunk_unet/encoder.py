"""The first half of the U: the way down through the levels, and the bottom. A ControlNet has one of its own."""

from collections.abc import Sequence

from jaxtyping import Float, Real
from torch import Tensor, nn

from inkpunk_unet.config import UNetConfig
from inkpunk_unet.embedding import TimeEmbedding, timestep_embedding
from inkpunk_unet.levels import DownLevel, Middle


class UNetEncoder(nn.Module):
    """What a UNet and a ControlNet have in common: time embedding, first convolution, way down and middle."""

    def __init__(self, config: UNetConfig) -> None:
        """With freshly initialised weights."""
        super().__init__()
        self.config = config
        widths = config.widths
        self.time_embedding = TimeEmbedding(widths[0], config.time_width)
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], kernel_size=3, padding=1)
        self.down = nn.ModuleList(
            DownLevel(config, widths[max(level - 1, 0)], level) for level in range(len(widths))
        )
        self.middle = Middle(config)

    def embed_time(
        self,
        latents: Float[Tensor, "batch in_channels height width"],
        timesteps: Real[Tensor, " batch"] | Real[Tensor, ""],
    ) -> Float[Tensor, "batch time_width"]:
        """Embed a timestep for each of the latents, in their dtype."""
        waves = timestep_embedding(timesteps.expand(latents.shape[0]), self.config.widths[0])
        return self.time_embedding(waves.to(latents.dtype))

    def encode(
        self,
        image: Float[Tensor, "batch channels height width"],
        time: Float[Tensor, "batch time_width"],
        context: Float[Tensor, "batch tokens context_width"],
        added: Sequence[Float[Tensor, "batch _ _ _"] | None] = (),
    ) -> tuple[list[Float[Tensor, "batch _ _ _"]], Float[Tensor, "batch _ _ _"]]:
        """Go down from what `conv_in` gave, which is the first of the skips, and through the middle.

        What is `added` joins each level's last layer, and so both its skip and all that is below.

        Raises:
            ValueError: `added` is not of one for each level, or one's shape or dtype is not its layer's.
        """
        if added and len(added) != len(self.down):
            raise ValueError(
                f"UNet: residuals.levels must be {len(self.down)}, one for each level, not {len(added)}"
            )
        skips: list[Tensor] = [image]
        for level, extra in zip(self.down, added or [None] * len(self.down), strict=True):
            skips += level(skips[-1], time, context, extra)
        return skips, self.middle(skips[-1], time, context)


def check_inputs(
    config: UNetConfig, latents: Tensor, timesteps: Tensor, context: Tensor, network: str = "UNet"
) -> None:
    """Refuse in one line what would otherwise fail deep inside the network.

    Raises:
        ValueError: Saying which argument is wrong, what it is, and what it should be.
    """

    def refuse(must: str, value: Tensor) -> None:
        raise ValueError(f"{network}: {must}, not {list(value.shape)}")

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
            f"{network}: latents are {latents.dtype} but context is {context.dtype}; cast one to the other"
        )
