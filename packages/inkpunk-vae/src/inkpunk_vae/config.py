"""The sizes of an autoencoder, and where they can be read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

SCALING = 0.18215
"""What Stable Diffusion v1 multiplies latents by, so that they have about unit variance
(Rombach et al. 2022, arXiv 2112.10752, appendix G)."""

MOST_LEVELS = 16
"""Levels a VAE may have; each but the last halves the picture, so that 16 want one of 32,768 pixels a side."""
LIMITS = {
    "image_channels": 2**16,
    "latent_channels": 2**16,
    "widths": 2**16,
    "layers": 32,
    "groups": 2**16,
}
"""The most that each size may be, from 16 times Stable Diffusion's up: building any such network on the meta device
takes seconds, and none of its tensors has more elements than torch counts. More is a mistake."""
SCALINGS = 1e-4, 1e4
"""Least and most `scaling`: latents of variance about 1 times or by more would leave float16's range."""


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
        ValueError: a size is not a whole number from 1 to its limit in `LIMITS`, a width is not divisible by
            `groups`, or `scaling` is not within `SCALINGS`.
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
        for name in ("image_channels", "latent_channels", "layers", "groups"):
            check_size(f"VAEConfig.{name}", getattr(self, name), LIMITS[name])
        least, most = SCALINGS
        if isinstance(self.scaling, bool) or not least <= self.scaling <= most:
            raise ValueError(
                f"VAEConfig.scaling is {self.scaling!r:.80}: it must be a number from {least:g} to {most:g}"
            )
        if len(self.widths) > MOST_LEVELS:
            raise ValueError(
                f"VAEConfig.widths has {len(self.widths)} levels: at most {MOST_LEVELS} are allowed"
            )
        for width in self.widths:
            check_size("one of VAEConfig.widths", width, LIMITS["widths"])
            if width % self.groups:
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
            return sides(weights, name, "a VAE", "VAE")

        image_channels = shape("encoder.conv_in.weight")[1]
        latent_channels = shape("post_quant_conv.weight")[0]
        levels = 1 + count(weights, "encoder.down.{}.downsample.conv.weight")
        layers = count(weights, "encoder.down.0.resnets.{}.conv1.weight")
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
                raise ValueError(f"VAE config: {key} is {found!r:.80}, and only {wanted!r} is implemented")
        for key, block in _BLOCKS.items():
            kinds = config.get(key, [])
            if any(kind != block for kind in _list(key, kinds)):
                raise ValueError(f"VAE config: {key} is {kinds!r:.80}, and only {block!r} is implemented")
        image_channels = _whole(
            "in_channels", config.get("in_channels", cls.image_channels), "image_channels"
        )
        if config.get("out_channels", image_channels) != image_channels:
            raise ValueError(
                f"VAE config: out_channels is {config['out_channels']!r:.80} with in_channels {image_channels}; "
                "they must be equal"
            )
        sizes = {
            "latent_channels": config.get("latent_channels", cls.latent_channels),
            "layers": config.get("layers_per_block"),
            "groups": config.get("norm_num_groups", cls.groups),
        }
        whole = {name: _whole(DIFFUSERS_NAMES[name], size, name) for name, size in sizes.items()}
        widths = tuple(
            _whole("one of block_out_channels", width, "widths")
            for width in _list("block_out_channels", config.get("block_out_channels"))
        )
        scaling = _scaling(config.get("scaling_factor", cls.scaling))
        try:
            return cls(image_channels=image_channels, widths=widths, scaling=scaling, **whole)
        except ValueError as error:
            called = ", ".join(f"{name} {key}" for name, key in DIFFUSERS_NAMES.items() if name != key)
            raise ValueError(f"VAE config: {error} (it calls {called})") from error


DIFFUSERS_NAMES = {
    "image_channels": "in_channels",
    "latent_channels": "latent_channels",
    "widths": "block_out_channels",
    "layers": "layers_per_block",
    "groups": "norm_num_groups",
    "scaling": "scaling_factor",
}
"""What diffusers calls the fields of a `VAEConfig`."""


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


def sides(weights: Mapping[str, Tensor], name: str, what: str, network: str) -> Sequence[int]:
    """The four sides of a convolution's weight.

    Raises:
        ValueError: it is not there, or has not four.
    """
    if name not in weights:
        raise ValueError(
            f"these are not {what}'s weights: no tensor is named {name!r}; "
            f"names are those of inkpunk_vae.{network}.state_dict()"
        )
    size = weights[name].shape
    if len(size) != 4:
        raise ValueError(f"these are not {what}'s weights: {name!r} has shape {tuple(size)}, not four sides")
    return size


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many of pattern's names, numbered from 0 without a gap, there are."""
    number = 0
    while pattern.format(number) in weights:
        number += 1
    return number


def check_size(what: str, size: object, most: int, least: int = 1) -> None:
    """Refuse a size that is no whole number from `least` to `most`."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise ValueError(f"{what} is {size!r:.80}: it must be a whole number")
    if size < least:
        raise ValueError(f"{what} is {size!r:.80}: it must be {'positive' if least else 'at least 0'}")
    if size > most:
        raise ValueError(f"{what} is {size!r:.80}: it must be at most {most}")


def _whole(key: str, value: object, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON makes no difference between 2 and 2.0, nor do some that write it
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"VAE config: {key} is {value!r:.80}: expected a whole number")
    check_size(f"VAE config: {key}", value, LIMITS[name])
    return value


def _scaling(value: object) -> float:
    least, most = SCALINGS
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(
            f"VAE config: scaling_factor is {value!r:.80}: expected a number from {least:g} to {most:g}"
        )
    return float(value)


def _list(key: str, value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"VAE config: {key} is {value!r:.80}: expected a list")
    return value  # pyright: ignore[reportUnknownVariableType]  # a sequence of anything is one of objects
