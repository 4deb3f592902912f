"""The `.yaml` beside a single file, of the same name: the config that latent diffusion trained it by.

AUTOMATIC1111 looks there, and makes its models say so what no tensor tells. Of what it says we follow the prediction,
the noise, the heads of the UNet and the scaling of latents; what would make another model of it is refused.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import yaml
from inkpunk_sampling import NoiseSchedule
from inkpunk_weights import Checkpoint, CheckpointError

MOST_DEPTH = 50
MOST_BYTES = 100_000  # Stable Diffusion v1's has 2,000
PARAMETERIZATIONS = {"eps": "epsilon", "v": "v", "x0": "sample"}
# latent diffusion's words for ours; its "linear" is of the square roots
CURVES = {"linear": "scaled_linear", "sqrt_linear": "linear"}
# What latent diffusion takes for what is left out. All of it left out says nothing.
NOISE: Mapping[str, object] = {
    "beta_schedule": "linear",
    "linear_start": 1e-4,
    "linear_end": 2e-2,
    "timesteps": 1000,
}
OTHERS = {  # a word in the class's name: whose it is
    "sgm.": "Stable Diffusion XL",
    "OpenCLIP": "Stable Diffusion 2",
    "sd3": "Stable Diffusion 3",
}


@dataclass(frozen=True)
class TrainingConfig:
    """What it says, in our words; None for what it leaves open."""

    prediction: str | None = None
    schedule: NoiseSchedule | None = None
    heads: int | None = None
    scaling: float | None = None


def read_training_config(checkpoint: Checkpoint) -> TrainingConfig:
    """Read it; where there is none, or the checkpoint is a folder, it says nothing.

    Raises:
        CheckpointError: for one that is not such a config, or says what cannot be followed.
    """
    path = checkpoint.path.with_suffix(".yaml")
    if not checkpoint.layout.startswith("single-file") or not path.is_file():
        return TrainingConfig()
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        return _understood(_parsed(text), checkpoint)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}; mend it, or, if it is not this checkpoint's config, rename it"
        ) from error


def _parsed(text: bytes) -> object:
    if len(text) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES:,} bytes, which no such config is")
    try:
        # An alias may stand for much that holds aliases again, and unfolding it would take all memory.
        depth, events = 0, cast("Iterable[object]", yaml.parse(text, yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
        for event in events:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("has aliases (*), which are not read here")
            if depth > MOST_DEPTH:  # which takes long to read
                raise ValueError(f"nested more than {MOST_DEPTH} deep")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ArithmeticError, LookupError) as error:
        raise ValueError(f"not YAML ({' '.join(str(error).split())[:160]})") from error


def _understood(config: object, checkpoint: Checkpoint) -> TrainingConfig:
    model = _within(config, "model")
    params = _within(model, "params")
    if not isinstance(config, dict) or not params:
        raise ValueError("not a training config: it has no model.params")
    unet = _within(params, "unet_config", "params")
    targets = [_word(model, "target"), *(_word(_within(params, part), "target") for part in PARTS)]
    _refuse_others(targets, unet, checkpoint)
    _refuse_layer(_within(params, "cond_stage_config", "params"))
    heads, scaling = unet.get("num_heads"), params.get("scale_factor")
    told = params.get("parameterization")
    if told is not None and not (isinstance(told, str) and told in PARAMETERIZATIONS):
        raise ValueError(f"parameterization is {told!r:.40}: use {', '.join(PARAMETERIZATIONS)}")
    return TrainingConfig(
        prediction=PARAMETERIZATIONS[told] if isinstance(told, str) else None,
        schedule=_noise(params),
        heads=None if heads is None or heads == -1 else _whole("num_heads", heads),
        # by the latents' deviation means that training found another, which it leaves in the file
        scaling=None
        if scaling is None or params.get("scale_by_std") is True
        else _number("scale_factor", scaling),
    )


PARTS = ("unet_config", "first_stage_config", "cond_stage_config", "network_config", "conditioner_config")


def _refuse_others(targets: Iterable[str], unet: Mapping[str, object], checkpoint: Checkpoint) -> None:
    for target in targets:
        for word, whose in OTHERS.items():
            if word in target:
                raise ValueError(f"it names {target!r:.80}, which is {whose}'s; Inkpunk draws with v1 models")
    if unet.get("num_head_channels", -1) != -1:
        raise ValueError(
            "it gives num_head_channels, as Stable Diffusion 2's does, where v1's gives num_heads"
        )
    width, keys = unet.get("context_dim"), "cross_attention.key.weight"
    widths = [checkpoint.unet.spec(name).shape[-1] for name in checkpoint.unet if name.endswith(keys)]
    if width is not None and widths and width != widths[0]:
        raise ValueError(f"context_dim is {width!r:.40}, but the tensors are those of {widths[0]}")


def _refuse_layer(params: Mapping[str, object]) -> None:
    if params.get("layer", "last") != "last":
        raise ValueError(
            "the text encoder's layer is chosen by each request here, so take out the line "
            f"layer: {params['layer']!r:.40}, and add --clip-skip when you draw"
        )


def _noise(params: Mapping[str, object]) -> NoiseSchedule | None:
    if params.get("given_betas") is not None:
        raise ValueError("given_betas is not supported; only schedules given by a formula are")
    told = {key: value for key in NOISE if (value := params.get(key)) is not None}
    if not told:
        return None
    whole = {**NOISE, **told}
    curve = whole["beta_schedule"]
    if not isinstance(curve, str) or curve not in CURVES:
        raise ValueError(f"beta_schedule is {curve!r:.40}: of those only {', '.join(CURVES)} are supported")
    start, end = (_number(key, whole[key]) for key in ("linear_start", "linear_end"))
    return NoiseSchedule(_whole("timesteps", whole["timesteps"]), start, end, CURVES[curve])


def _within(value: object, *keys: str) -> Mapping[str, object]:
    """What a nested value has below these keys, if that has keys itself; else nothing."""
    for key in keys:
        value = cast("dict[object, object]", value).get(key) if isinstance(value, dict) else None
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _word(value: Mapping[str, object], key: str) -> str:
    word = value.get(key)
    return word if isinstance(word, str) else ""


def _number(key: str, value: object) -> float:
    """A number, also one as 1e-4, which is a word in YAML 1.1 and not in the programs that read these files."""
    try:
        number = (
            float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        )
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} is {value!r:.40}: write a number")
    return number


def _whole(key: str, value: object) -> int:
    number = _number(key, value)
    if not number.is_integer():
        raise ValueError(f"{key} is {value!r:.40}: write a whole number")
    return int(number)
