"""What fixes a UNet's shape, and how to read it off weights or a diffusers config."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor

MOST_LEVELS = 16
"""Levels a UNet may have; each halves the picture, so that more would want one of half a million pixels a side."""
LIMITS = {
    "in_channels": 2**16,
    "out_channels": 2**16,
    "widths": 2**16,
    "layers": 32,
    "heads": 2**16,
    "context_width": 2**16,
    "groups": 2**16,
}
"""The most that each number of a config may be, from 16 times Stable Diffusion's up: building any such network on the
meta device takes seconds, and none of its tensors has more elements than torch counts. More is a mistake."""


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a UNet; the defaults are Stable Diffusion v1.5's.

    Raises:
        ValueError: The numbers do not make a network, or are beyond `LIMITS`.
    """

    in_channels: int = 4
    """Channels of the latents; 9 for inpainting models."""
    out_channels: int = 4
    """Channels of the prediction."""
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels at each level, finest first; each level has half the height and width of the one before."""
    layers: int = 2
    """Residual blocks at each level on the way down; there is one more on the way up."""
    attention: tuple[bool, ...] = (True, True, True, False)
    """Which levels have transformers. The bottom of the U always has one."""
    heads: int = 8
    """Attention heads."""
    context_width: int = 768
    """Channels of the context."""
    groups: int = 32
    """Groups of the group normalisations."""

    def __post_init__(self) -> None:
        """Check that the numbers fit together."""
        check_numbers(self, LIMITS)
        if len(self.attention) != len(self.widths):
            raise ValueError(
                f"UNetConfig: attention must have one entry for each of the {len(self.widths)} widths, "
                f"not {len(self.attention)}"
            )
        if self.widths[0] % 2:
            raise ValueError(
                f"UNetConfig: the first of widths must be even (sines and cosines), not {self.widths[0]}"
            )
        for level, (width, attends) in enumerate(zip(self.widths, self.attention, strict=True)):
            if width % self.groups:
                raise ValueError(
                    f"UNetConfig: widths[{level}] = {width} does not divide into groups = {self.groups}"
                )
            deepest = level == len(self.widths) - 1  # the bottom of the U attends at its width
            if (attends or deepest) and width % self.heads:
                raise ValueError(
                    f"UNetConfig: widths[{level}] = {width} does not divide into heads = {self.heads}"
                )

    @property
    def time_width(self) -> int:
        """Channels of the time embedding."""
        return 4 * self.widths[0]

    @property
    def skip_widths(self) -> tuple[int, ...]:
        """Channels of the skip connections, in the order of the way down, `conv_in`'s first."""
        last = len(self.widths) - 1
        downs = (
            width for level, width in enumerate(self.widths) for _ in range(self.layers + (level < last))
        )
        return (self.widths[0], *downs)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], *, heads: int = 8, groups: int = 32) -> "UNetConfig":
        """Read the config off a UNet's weights; only their names and shapes are looked at.

        Args:
            weights: Tensors under this package's own parameter names, as `UNet(...).state_dict()` has them.
            heads: Attention heads, which shapes cannot tell.
            groups: Groups of the group normalisations, which shapes cannot tell.

        Raises:
            ValueError: These are not the weights of a UNet of this kind.
        """
        out_channels = _shape(weights, "conv_out.weight", dims=4)[0]
        return _of_encoder(weights, heads, groups, out_channels)

    @classmethod
    def of_encoder(cls, weights: Mapping[str, Tensor], *, heads: int = 8, groups: int = 32) -> "UNetConfig":
        """As `from_weights`, of the weights of a UNet's first half alone, which a ControlNet has."""
        return _of_encoder(weights, heads, groups, cls.out_channels)

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "UNetConfig":
        """Read a diffusers `unet/config.json`, already parsed.

        Raises:
            ValueError: Naming the key that is missing, malformed, or asks for another kind of network.
        """
        if config.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
            raise ValueError(
                f"unet config: _class_name is {config['_class_name']!r:.80}, not 'UNet2DConditionModel'"
            )
        for key, only in DIFFUSERS_FIXED.items():
            value = config.get(key, only)
            values = cast(list[object], value) if isinstance(value, list | tuple) else [value]
            # null, false and 0 all say "without"
            if not all(each == only or (not each and not only) for each in values):
                raise ValueError(
                    f"unet config: {key} = {value!r:.80} is not Stable Diffusion v1; only {only!r} is supported"
                )
        down = [str(kind) for kind in _list(config, "down_block_types")]
        for kind in down:
            if kind not in DIFFUSERS_LEVELS:
                raise ValueError(
                    f"unet config: down_block_types has {kind!r:.80}; supported are {list(DIFFUSERS_LEVELS)}"
                )
        up = [DIFFUSERS_LEVELS[kind] for kind in reversed(down)]
        if "up_block_types" in config and _list(config, "up_block_types") != up:
            raise ValueError(f"unet config: up_block_types must mirror down_block_types: {up}")
        sizes = {
            name: _whole(config.get(key), key, LIMITS[name])
            for name, key in DIFFUSERS_NAMES.items()
            if name not in ("widths", "heads")
        }
        widths = tuple(
            _whole(width, "each of block_out_channels", LIMITS["widths"])
            for width in _list(config, "block_out_channels")
        )
        attention = tuple(kind == "CrossAttnDownBlock2D" for kind in down)
        try:
            return cls(widths=widths, attention=attention, heads=_heads(config, len(down)), **sizes)
        except ValueError as error:
            if str(error).startswith("unet config: "):
                raise
            called = ", ".join(f"{name} {key}" for name, key in DIFFUSERS_NAMES.items() if name != key)
            raise ValueError(f"unet config: {error} (it calls {called})") from error


DIFFUSERS_NAMES = {
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "widths": "block_out_channels",
    "layers": "layers_per_block",
    "heads": "attention_head_dim",  # so named, but in Stable Diffusion v1's configs it is the number of heads
    "context_width": "cross_attention_dim",
    "groups": "norm_num_groups",
}
"""What diffusers calls the numbers of a `UNetConfig`."""

DIFFUSERS_LEVELS = {"CrossAttnDownBlock2D": "CrossAttnUpBlock2D", "DownBlock2D": "UpBlock2D"}
"""The kinds of level that exist here, as diffusers calls them on the way down and on the way up."""

DIFFUSERS_FIXED: dict[str, object] = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "projection_class_embeddings_input_dim": None,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "use_linear_projection": False,
}
"""Options of diffusers' UNet that change the network, and the one value each has in Stable Diffusion v1."""


def check_numbers(config: object, limits: Mapping[str, int]) -> None:
    """Refuse what is no network's: for each name in `limits`, other numbers than whole ones from one to that.

    Raises:
        ValueError: Naming the one that is wrong.
    """
    kind = type(config).__name__
    for name, most in limits.items():
        value = getattr(config, name)
        numbers = cast(tuple[int, ...], value if isinstance(value, tuple) else (value,))
        if any(type(number) is not int for number in numbers):
            raise ValueError(f"{kind}: {name} must be whole numbers only, not {value!r:.80}")
        if not numbers or min(numbers) < 1:
            raise ValueError(f"{kind}: {name} must be positive, not {value!r:.80}")
        if max(numbers) > most:
            raise ValueError(f"{kind}: {name} must be at most {most}, not {value!r:.80}")
        if len(numbers) > MOST_LEVELS:
            raise ValueError(f"{kind}: {name} must be of at most {MOST_LEVELS} levels, not of {len(numbers)}")


def _of_encoder(weights: Mapping[str, Tensor], heads: int, groups: int, out_channels: int) -> UNetConfig:
    conv_in = _shape(weights, "conv_in.weight", dims=4)
    levels = max(1, _count(weights, r"down\.(\d+)\."))
    _shape(weights, "middle.attention.proj_in.weight", dims=4)  # Stable Diffusion 2 has a matrix here
    return UNetConfig(
        in_channels=conv_in[1],
        out_channels=out_channels,
        widths=tuple(
            _shape(weights, f"down.{level}.resnets.0.conv1.weight", dims=4)[0] for level in range(levels)
        ),
        layers=_count(weights, r"down\.0\.resnets\.(\d+)\."),
        attention=tuple(f"down.{level}.attentions.0.proj_in.weight" in weights for level in range(levels)),
        heads=heads,
        context_width=_shape(weights, "middle.attention.block.cross_attention.key.weight", dims=2)[1],
        groups=groups,
    )


def _shape(weights: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(
            f"UNetConfig.from_weights: no {name!r}: not a UNet's weights, or not under this package's names"
        )
    shape = tuple(weights[name].shape)
    if len(shape) != dims:
        raise ValueError(
            f"UNetConfig.from_weights: {name!r} must have {dims} dimensions, as in Stable Diffusion v1, "
            f"not the shape {list(shape)}"
        )
    return shape


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers 0, 1, 2, ... the names hold where the pattern's group stands."""
    found = {int(match[1]) for name in weights if (match := re.match(pattern, name))}
    return next(number for number in range(len(found) + 1) if number not in found)


def _list(config: Mapping[str, object], key: str) -> list[object]:
    value = config.get(key)
    if not isinstance(value, list | tuple):
        raise ValueError(f"unet config: {key} must be a list, not {value!r:.80}")
    return list(cast(list[object], value))


def _whole(value: object, what: str, most: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON makes no difference between 8 and 8.0, nor do some that write it
    if type(value) is not int:  # bool is no number here
        raise ValueError(f"unet config: {what} must be a whole number, not {value!r:.80}")
    if not 1 <= value <= most:
        raise ValueError(f"unet config: {what} must be from 1 to {most}, not {value!r:.80}")
    return value


def _heads(config: Mapping[str, object], levels: int) -> int:
    """The number of heads, said once or for each level."""
    key = DIFFUSERS_NAMES["heads"]
    told = config.get(key)
    if not isinstance(told, list | tuple):
        return _whole(told, key, LIMITS["heads"])
    heads = {_whole(each, f"each of {key}", LIMITS["heads"]) for each in cast(list[object], told)}
    if len(heads) != 1:
        raise ValueError(
            f"unet config: {key} = {told!r:.80} has other numbers of heads at other levels, as in Stable Diffusion 2 "
            "and XL; only Stable Diffusion v1, with one number of heads, is supported"
        )
    if len(cast(list[object], told)) != levels:
        raise ValueError(
            f"unet config: {key} = {told!r:.80} must have a number for each of the {levels} levels"
        )
    return heads.pop()
