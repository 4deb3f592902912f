"""What a checkpoint says of its tensors in words: a folder's JSON, a file's metadata.

Shapes tell most of a network, and cannot be mistaken. So words are held against them before anything is built, and
believed only in what no shape tells.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, TypeGuard, cast

import torch
from inkpunk_clip import TextEncoderConfig
from inkpunk_unet import UNetConfig
from inkpunk_vae import VAEConfig
from inkpunk_weights import LazyTensors
from torch import Tensor

CONFIGS: Mapping[str, Any] = {"text_encoder": TextEncoderConfig, "unet": UNetConfig, "vae": VAEConfig}
# What no shape tells of a component, and what diffusers calls it.
UNTOLD: Mapping[str, Mapping[str, str]] = {
    "text_encoder": {"heads": "num_attention_heads"},
    "unet": {"heads": "attention_head_dim", "groups": "norm_num_groups"},  # so called, but it counts heads
    "vae": {"groups": "norm_num_groups", "scaling": "scaling_factor"},
}
# What shapes tell, and what diffusers calls it.
TOLD: Mapping[str, Mapping[str, str]] = {
    "text_encoder": {
        "vocabulary": "vocab_size",
        "positions": "max_position_embeddings",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "feed_forward": "intermediate_size",
    },
    "unet": {
        "in_channels": "in_channels",
        "out_channels": "out_channels",
        "widths": "block_out_channels",
        "layers": "layers_per_block",
        "attention": "down_block_types",
        "context_width": "cross_attention_dim",
    },
    "vae": {
        "image_channels": "in_channels",
        "latent_channels": "latent_channels",
        "widths": "block_out_channels",
        "layers": "layers_per_block",
    },
}


def config_from_folder(component: str, told: Mapping[str, object], weights: LazyTensors) -> Any:
    """A component's config by its parsed config.json, if that is what its weights are of.

    Raises:
        ValueError: naming the first key that the tensors contradict, with what both say; or as the component's
            `from_diffusers` does, or `from_weights`.
    """
    kind = CONFIGS[component]
    found = kind.from_weights(
        shapes_alone(weights), **{name: 1 for name in UNTOLD[component] if name != "scaling"}
    )
    config, failure = None, None
    try:
        config = kind.from_diffusers(told)
    except ValueError as error:
        failure = error  # what contradicts the tensors comes first, as they tell the right value too
    for name, key in TOLD[component].items():
        right = _in_json(getattr(found, name))
        if key in told and told[key] != right:
            said = f"{told[key]!r:.80}"
        elif config is not None and _in_json(getattr(config, name)) != right:
            said = f"left out, which means {_in_json(getattr(config, name))!r:.80}"
        else:
            continue
        raise ValueError(
            f"config.json: {key} is {said}, but the tensors are those of {right!r:.80}; write that, or fetch the "
            "folder again"
        )
    if failure is not None:
        raise failure
    return config


def config_from_shapes(component: str, told: object, weights: LazyTensors) -> Any:
    """A component's config by its weights' shapes, and by what metadata tell of it that no shape does.

    Raises:
        ValueError: for metadata that are no such numbers, or as the component's `from_weights` does.
    """
    if not isinstance(told, dict):
        raise ValueError(
            f"metadata tells {told!r:.40} of it; write an object of {', '.join(UNTOLD[component])}"
        )
    numbers: dict[str, int | float] = {}
    for name, value in cast("dict[str, object]", told).items():
        if name not in UNTOLD[component]:
            raise ValueError(
                f"metadata tells {name!r:.40}, which is none of {', '.join(UNTOLD[component])}; take it out"
            )
        number = _as_float(value) if name == "scaling" else as_whole(value)
        if number is None:
            what = "a number" if name == "scaling" else "a whole number"
            raise ValueError(f"metadata tells {name} {value!r:.40}; write {what}")
        numbers[name] = number
    return CONFIGS[component].from_weights(shapes_alone(weights), **numbers)


def shapes_alone(weights: LazyTensors) -> dict[str, Tensor]:
    """Tensors of the same names and shapes without any numbers, so that none is read to learn its shape."""
    return {name: torch.empty(weights.spec(name).shape, device="meta") for name in weights}


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value of JSON is a number, which true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_whole(value: object) -> int | None:
    """The whole number that a value of JSON means, 8 also by 8.0; None if it means none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _as_float(value: object) -> float | None:
    try:
        return float(value) if is_number(value) else None
    except OverflowError:  # a whole number beyond a float's range
        return inf


def default_size(told: Mapping[str, object], factor: int, most: int) -> int | None:
    """The size of picture in pixels that a UNet's parsed config.json tells by `sample_size`; None if it tells none.

    Args:
        told: the config.
        factor: pixels of a latent, in height and in width.
        most: pixels of the largest size that a model may prefer.

    Raises:
        ValueError: for what is no size, or a different one in height and in width.
    """
    said = told.get("sample_size")
    if said is None:
        return None
    sides = cast("list[object]", said) if isinstance(said, list) else [said]
    sizes = {as_whole(side) for side in sides}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None or not 1 <= size <= most // factor:
        raise ValueError(
            f"config.json: sample_size is {said!r:.80}: write one whole number from 1 to {most // factor}, which "
            f"times {factor} is the size of a picture in pixels, or leave it out"
        )
    return factor * size


def _in_json(value: object) -> object:
    """A config's field as diffusers writes it."""
    if not isinstance(value, tuple):
        return value
    values = cast("tuple[object, ...]", value)
    return [
        ("CrossAttnDownBlock2D" if each else "DownBlock2D") if isinstance(each, bool) else each
        for each in values
    ]
