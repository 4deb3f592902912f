"""The autoencoder of latent diffusion: images to latents and back."""

from typing import TYPE_CHECKING, NoReturn

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_vae.config import VAEConfig
from inkpunk_vae.layers import EPSILON, DownLevel, Middle, UpLevel
from inkpunk_vae.posterior import Posterior
from inkpunk_vae.tiny_config import TinyVAEConfig


class Encoder(nn.Module):
    """Images to the moments of their latents, at an eighth of their height and width."""

    def __init__(self, config: VAEConfig) -> None:
        """Build an encoder of the given sizes."""
        super().__init__()
        widths, groups = config.widths, config.groups
        inputs, last = (widths[0], *widths), len(widths) - 1
        self.conv_in = nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
        self.down = nn.Sequential(
            *(
                DownLevel(inputs[level], width, config.layers, groups, last=level == last)
                for level, width in enumerate(widths)
            )
        )
        self.middle = Middle(widths[-1], groups)
        self.norm_out = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    if TYPE_CHECKING:

        def __call__(
            self, images: Float[Tensor, "batch image_channels height width"]
        ) -> Float[Tensor, "batch twice_latent_channels rows columns"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(
        self, images: Float[Tensor, "batch image_channels height width"]
    ) -> Float[Tensor, "batch twice_latent_channels rows columns"]:
        """Means, then log-variances."""
        x = self.middle(self.down(self.conv_in(images)))
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """Latents to images: the encoder's mirror, with one residual block more a level."""

    def __init__(self, config: VAEConfig) -> None:
        """Build a decoder of the given sizes."""
        super().__init__()
        widths, groups = config.widths[::-1], config.groups
        inputs, last = (widths[0], *widths), len(widths) - 1
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.middle = Middle(widths[0], groups)
        self.up = nn.Sequential(
            *(
                UpLevel(inputs[level], width, config.layers + 1, groups, last=level == last)
                for level, width in enumerate(widths)
            )
        )
        self.norm_out = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], config.image_channels, 3, padding=1)

    if TYPE_CHECKING:

        def __call__(
            self, latents: Float[Tensor, "batch latent_channels rows columns"]
        ) -> Float[Tensor, "batch image_channels height width"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(
        self, latents: Float[Tensor, "batch latent_channels rows columns"]
    ) -> Float[Tensor, "batch image_channels height width"]:
        """Images."""
        x = self.up(self.middle(self.conv_in(latents)))
        return self.conv_out(F.silu(self.norm_out(x)))


class VAE(nn.Module):
    """The variational autoencoder of Stable Diffusion v1 (Rombach et al. 2022, arXiv 2112.10752, appendix G).

    It learnt to shrink an image eightfold in height and in width and to restore it so that people, and a
    discriminator, hardly see the difference; diffusion then works on the small latents.
    """

    def __init__(self, config: VAEConfig = VAEConfig()) -> None:  # noqa: B008  # frozen, so safe to share
        """Build an autoencoder of the given sizes; it is random until weights are loaded."""
        super().__init__()
        self.config = config
        latent_channels = config.latent_channels
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)
        self.decoder = Decoder(config)

    if TYPE_CHECKING:

        def __call__(self, *inputs: object) -> NoReturn:
            """Neither of its two ways is the one: torch refuses. Call `encode` or `decode`."""
            ...

    def encode(self, images: Float[Tensor, "batch image_channels height width"]) -> Posterior:
        """The distribution of the images' latents.

        Args:
            images: three channels (red, green, blue) in [-1, 1]; height and width are multiples of
                `config.factor`, 8 by default.

        Returns:
            A posterior over latents of shape [batch, 4, height / 8, width / 8], already scaled for diffusion.

        Raises:
            ValueError: the images do not have this shape, or are not of a floating-point dtype.
        """
        check_images(images, self.config)
        return Posterior.from_moments(self.quant_conv(self.encoder(images)), self.config.scaling)

    def decode(
        self, latents: Float[Tensor, "batch latent_channels rows columns"]
    ) -> Float[Tensor, "batch image_channels height width"]:
        """The images that latents stand for.

        Args:
            latents: four channels, scaled as `encode` and a diffusion model give them; any height and width.

        Returns:
            Images in [-1, 1], 8 times as high and wide. They are what the network says, so that values may
            overshoot the range a little: clamp before making bytes of them.

        Raises:
            ValueError: the latents do not have this shape, or are not of a floating-point dtype.
        """
        check_latents(latents, self.config)
        return self.decoder(self.post_quant_conv(latents / self.config.scaling))


def check_images(images: Tensor, config: VAEConfig | TinyVAEConfig) -> None:
    """Refuse, with one clear ValueError, what cannot be encoded."""
    _check_map("images", images, config.image_channels)
    height, width = images.shape[-2:]
    factor = config.factor
    if height % factor or width % factor:
        fitting = " x ".join(str(max(factor, side - side % factor)) for side in (width, height))
        raise ValueError(
            f"images are {width} x {height} pixels: width and height must be multiples of {factor}; "
            f"crop or resize, to {fitting} for example"
        )


def check_latents(latents: Tensor, config: VAEConfig | TinyVAEConfig) -> None:
    """Refuse, with one clear ValueError, what cannot be decoded."""
    _check_map("latents", latents, config.latent_channels)


def _check_map(name: str, tensor: Tensor, channels: int) -> None:
    if tensor.ndim != 4 or tensor.shape[1] != channels or 0 in tensor.shape[2:]:
        raise ValueError(
            f"{name} have shape {list(tensor.shape)}: expected [batch, {channels}, height, width]"
        )
    if not tensor.is_floating_point():
        raise ValueError(f"{name} are {tensor.dtype}: convert them to the model's floating-point dtype first")
