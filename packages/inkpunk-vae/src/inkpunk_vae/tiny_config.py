"""The sizes of a tiny autoencoder, and how they are read off its weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from inkpunk_vae.config import LIMITS, MOST_LEVELS, check_size, count, sides


@dataclass(frozen=True)
class TinyVAEConfig:
    """The sizes of a `TinyVAE`; the defaults are those of TAESD for Stable Diffusion v1.

    Attributes:
        image_channels: channels of an image.
        latent_channels: channels of a latent.
        width: channels of every feature map.
        encoder_blocks: residual blocks in each level of the encoder, from full resolution to lowest; none at all
            where the weights are of a decoder alone.
        decoder_blocks: those in each level of the decoder, from lowest resolution to full.

    Raises:
        ValueError: a size is not a whole number from 1 (of blocks 0) to its limit, or the two halves have not as
            many levels.
    """

    image_channels: int = 3
    latent_channels: int = 4
    width: int = 64
    encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)

    def __post_init__(self) -> None:
        """Refuse sizes no network can be built with."""
        for name in ("image_channels", "latent_channels", "width"):
            check_size(f"TinyVAEConfig.{name}", getattr(self, name), LIMITS.get(name, LIMITS["widths"]))
        if not 1 <= len(self.decoder_blocks) <= MOST_LEVELS:
            raise ValueError(
                f"TinyVAEConfig.decoder_blocks has {len(self.decoder_blocks)} levels: give 1 to {MOST_LEVELS}"
            )
        if self.encoder_blocks and len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ValueError(
                f"TinyVAEConfig.encoder_blocks has {len(self.encoder_blocks)} levels and decoder_blocks "
                f"{len(self.decoder_blocks)}: give both as many, or the encoder none at all"
            )
        for name in ("encoder_blocks", "decoder_blocks"):
            for blocks in getattr(self, name):
                check_size(f"one of TinyVAEConfig.{name}", blocks, LIMITS["layers"], least=0)

    @property
    def factor(self) -> int:
        """How many pixels, in height and in width, one latent stands for: 8 in TAESD."""
        return 2 ** (len(self.decoder_blocks) - 1)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> "TinyVAEConfig":
        """The sizes of the tiny autoencoder these weights are of, by their names and shapes.

        Args:
            weights: tensors by the names that `TinyVAE.state_dict()` gives them, on any device, meta included; those
                of a decoder alone are enough.

        Raises:
            ValueError: these are not a tiny autoencoder's weights.
        """
        what, kind = "a tiny autoencoder", "TinyVAE"
        width, latent_channels, _, _ = sides(weights, "decoder.conv_in.weight", what, kind)
        image_channels = sides(weights, "decoder.conv_out.weight", what, kind)[0]
        return cls(
            image_channels, latent_channels, width, _blocks(weights, "encoder"), _blocks(weights, "decoder")
        )


def _blocks(weights: Mapping[str, Tensor], half: str) -> tuple[int, ...]:
    """How many blocks each level of a half has; none if the half is not there."""
    if f"{half}.conv_in.weight" not in weights:
        return ()
    levels = 1 + count(weights, f"{half}.levels.{{}}.resample.conv.weight")
    return tuple(count(weights, f"{half}.levels.{level}.blocks.{{}}.conv1.weight") for level in range(levels))
