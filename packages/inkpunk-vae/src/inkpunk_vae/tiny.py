"""A tiny autoencoder that learnt to do what the large one does: TAESD."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_vae.tiny_config import TinyVAEConfig
from inkpunk_vae.vae import check_images, check_latents

BOUND = 3.0
"""Latents beyond this are drawn in softly before they are decoded; few of a picture's are."""


class TinyBlock(nn.Module):
    """Three 3x3 convolutions with ReLUs between, added to what came in, and a last ReLU over the sum."""

    def __init__(self, channels: int) -> None:
        """Build a block of as many channels out as in."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The block's output, at the same resolution."""
        return F.relu(x + self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))


class TinyDownsample(nn.Module):
    """Halves height and width by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        """Build the layer."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels half_height half_width"]:
        """The map at half its resolution."""
        return self.conv(x)


class TinyUpsample(nn.Module):
    """Doubles height and width: each pixel becomes four, then a convolution smooths."""

    def __init__(self, channels: int) -> None:
        """Build the layer."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels twice_height twice_width"]:
        """The map at twice its resolution."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class TinyLevel(nn.Module):
    """One resolution: blocks, then on to the next."""

    def __init__(self, blocks: int, channels: int, resample: nn.Module) -> None:
        """Build as many blocks; `resample` leads to the next resolution, or does nothing."""
        super().__init__()
        self.blocks = nn.Sequential(*(TinyBlock(channels) for _ in range(blocks)))
        self.resample = resample

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels next_height next_width"]:
        """The next level's input."""
        return self.resample(self.blocks(x))


class TinyEncoder(nn.Module):
    """Images to latents, at an eighth of their height and width."""

    def __init__(self, config: TinyVAEConfig) -> None:
        """Build an encoder of the given sizes."""
        super().__init__()
        self.conv_in = nn.Conv2d(config.image_channels, config.width, 3, padding=1)
        self.levels = _levels(config.encoder_blocks, config.width, TinyDownsample)
        self.conv_out = nn.Conv2d(config.width, config.latent_channels, 3, padding=1)

    def forward(
        self, images: Float[Tensor, "batch image_channels height width"]
    ) -> Float[Tensor, "batch latent_channels rows columns"]:
        """Latents, of images in [-1, 1]."""
        return self.conv_out(self.levels(self.conv_in((images + 1) / 2)))  # it was trained on [0, 1]


class TinyDecoder(nn.Module):
    """Latents to images: the encoder's mirror."""

    def __init__(self, config: TinyVAEConfig) -> None:
        """Build a decoder of the given sizes."""
        super().__init__()
        self.conv_in = nn.Conv2d(config.latent_channels, config.width, 3, padding=1)
        self.levels = _levels(config.decoder_blocks, config.width, TinyUpsample)
        self.conv_out = nn.Conv2d(config.width, config.image_channels, 3, padding=1)

    def forward(
        self, latents: Float[Tensor, "batch latent_channels rows columns"]
    ) -> Float[Tensor, "batch image_channels height width"]:
        """Images in [-1, 1]."""
        bounded = (latents / BOUND).tanh() * BOUND
        return self.conv_out(self.levels(F.relu(self.conv_in(bounded)))) * 2 - 1  # it was trained on [0, 1]


class TinyVAE(nn.Module):
    """TAESD, an autoencoder for Stable Diffusion's latents of a thirtieth of the VAE's parameters.

    It was distilled from the VAE and is by Ollin Boer Bohan (github.com/madebyollin/taesd); no paper describes it.
    There is no distribution: an image has one latent, about the mean of the VAE's.
    """

    def __init__(self, config: TinyVAEConfig = TinyVAEConfig()) -> None:  # noqa: B008  # frozen, so safe to share
        """Build an autoencoder of the given sizes; it is random until weights are loaded."""
        super().__init__()
        self.config = config
        self.encoder = TinyEncoder(config) if config.encoder_blocks else None
        self.decoder = TinyDecoder(config)

    def encode(
        self, images: Float[Tensor, "batch image_channels height width"]
    ) -> Float[Tensor, "batch latent_channels rows columns"]:
        """The images' latents.

        Args:
            images: three channels (red, green, blue) in [-1, 1]; height and width are multiples of
                `config.factor`, 8 by default.

        Returns:
            Latents of shape [batch, 4, height / 8, width / 8], scaled for diffusion as `VAE.encode`'s are.

        Raises:
            ValueError: the images do not have this shape or are not of a floating-point dtype, or these are the
                weights of a decoder alone.
        """
        if self.encoder is None:
            raise ValueError(
                "this tiny autoencoder has no encoder: load a file with both halves to encode with it"
            )
        check_images(images, self.config)
        return self.encoder(images)

    def decode(
        self, latents: Float[Tensor, "batch latent_channels rows columns"]
    ) -> Float[Tensor, "batch image_channels height width"]:
        """The images that latents stand for, roughly.

        Args:
            latents: four channels, scaled as `encode` and a diffusion model give them; any height and width.

        Returns:
            Images in [-1, 1], 8 times as high and wide. Values may overshoot the range a little: clamp before making
            bytes of them.

        Raises:
            ValueError: the latents do not have this shape, or are not of a floating-point dtype.
        """
        check_latents(latents, self.config)
        return self.decoder(latents)


def _levels(
    blocks: Sequence[int], channels: int, resample: type[TinyDownsample] | type[TinyUpsample]
) -> nn.Sequential:
    last = len(blocks) - 1
    return nn.Sequential(
        *(
            TinyLevel(count, channels, nn.Identity() if level == last else resample(channels))
            for level, count in enumerate(blocks)
        )
    )
