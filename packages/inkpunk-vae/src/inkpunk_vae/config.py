"""The sizes of an autoencoder, and where they can be read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

SCALING = 0.18215
"""What Stable Diffusion v1 multiplies latents by, so that they have about unit variance
(Rombach et al. 2022, arXiv 2112.10752, appendix G)."""


@dataclass(frozen=True)
class VAEConfig:
    """The sizes of a `VAE`; the defaults are Stable Diffusion v1.5's.

    Attributes:
        image_channels: channels of an image.
        latent_channels: channels of a latent.
        widths: channels of each level, from full resolution to lowest; each level but the last halves the
            image.
        layers: residual blocks in each level of the encoder; the decoder has one more.
        groups: groups of every GroupNorm; divides every width.
        scaling: what latents are multiplied by on their way out of `encode`, and divided by on their way into
            `decode`.

    Raises:
        ValueError: a size is not positive, or a width is not divisible by `groups`.
    """

    image_channels: int = 3
    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    groups: int = 32
    scaling: float = SCALING

    def __post_init__(self) -> None:
        """Refuse sizes no network can be built with."""
        if not self.widths:
            raise ValueError("VAEConfig.widths is empty: give the channels of at least one level")
        for name in ("image_channels", "latent_channels", "layers", "groups", "scaling"):
            if not getattr(self, name) > 0:
                raise ValueError(f"VAEConfig.{name} is {getattr(self, name)}: it must be positive")
        for width in self.widths:
            if width <= 0 or width % self.groups:
                raise ValueError(
                    f"VAEConfig.widths has {width}: widths must be positive multiples of groups={self.groups}"
                )

    @property
    def factor(self) -> int:
        """How many pixels, in height and in width, one latent stands for: 8 in Stable Diffusion."""
        return 2 ** (len(self.widths) - 1)

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, Tensor], *, groups: int = 32, scaling: float = SCALING
    ) -> "VAEConfig":
        """The sizes of the VAE these weights are of, by their shapes alone.

        Args:
            weights: tensors by the names that `VAE.state_dict()` gives them, on any device, meta included.
            groups: groups of every GroupNorm, which no shape tells.
            scaling: the factor of the latents, which no shape tells.

        Raises:
            ValueError: these are not a VAE's weights.
        """

        def shape(name: str) -> Sequence[int]:
            if name not in weights:
                raise ValueError(
                    f"these are not a VAE's weights: no tensor is named {name!r}; "
                    "names are those of inkpunk_vae.VAE.state_dict()"
                )
            size = weights[name].shape
            if len(size) != 4:
                raise ValueError(
                    f"these are not a VAE's weights: {name!r} has shape {tuple(size)}, not four sides"
                )
            return size

        image_channels = shape("encoder.conv_in.weight")[1]
        latent_channels = shape("post_quant_conv.weight")[0]
        levels = 1 + _count(weights, "encoder.down.{}.downsample.conv.weight")
        layers = _count(weights, "encoder.down.0.resnets.{}.conv1.weight")
        widths = tuple(shape(f"encoder.down.{level}.resnets.0.conv1.weight")[0] for level in range(levels))
        return cls(image_channels, latent_channels, widths, layers, groups, scaling)

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "VAEConfig":
        """The sizes in the parsed `vae/config.json` of a diffusers folder.

        Raises:
            ValueError: it describes another kind of autoencoder (SD 3's and FLUX's shifted latents, say), or
                lacks a size; the message names the key.
        """
        for key, wanted in _FIXED.items():
            found = config.get(key, wanted)
            if found != wanted:
                raise ValueError(f"VAE config: {key} is {found!r}, and only {wanted!r} is implemented")
        for key, block in _BLOCKS.items():
            kinds = config.get(key, [])
            if any(kind != block for kind in _list(key, kinds)):
                raise ValueError(f"VAE config: {key} is {kinds!r}, and only {block!r} is implemented")
        image_channels = _whole("in_channels", config.get("in_channels", cls.image_channels))
        if config.get("out_channels", image_channels) != image_channels:
            raise ValueError(
                f"VAE config: out_channels is {config['out_channels']!r} with in_channels {image_channels}; "
                "they must be equal"
            )
        scaling = config.get("scaling_factor", cls.scaling)
        if not isinstance(scaling, int | float):
            raise ValueError(f"VAE config: scaling_factor is {scaling!r}: expected a number")
        return cls(
            image_channels=image_channels,
            latent_channels=_whole("latent_channels", config.get("latent_channels", cls.latent_channels)),
            widths=tuple(
                _whole("block_out_channels", width)
                for width in _list("block_out_channels", config.get("block_out_channels"))
            ),
            layers=_whole("layers_per_block", config.get("layers_per_block")),
            groups=_whole("norm_num_groups", config.get("norm_num_groups", cls.groups)),
            scaling=float(scaling),
        )


# What a diffusers config may ask for and this network does not do, each with the one value that it does.
_FIXED: dict[str, object] = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
_BLOCKS = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many of pattern's names, numbered from 0 without a gap, there are."""
    number = 0
    while pattern.format(number) in weights:
        number += 1
    return number


def _whole(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"VAE config: {key} is {value!r}: expected a whole number")
    return value


def _list(key: str, value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"VAE config: {key} is {value!r}: expected a list")
    return value  # pyright: ignore[reportUnknownVariableType]  # a sequence of anything is one of objects
