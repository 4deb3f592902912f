"""From a checkpoint's tensors to the three networks, with no weight initialised only to be thrown away."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, cast

import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_sampling import SAMPLERS, NoiseSchedule
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import Checkpoint, CheckpointError, LazyTensors, narrowed
from torch import Tensor, nn

from inkpunk.memory.pages import ReadOnce
from inkpunk.models.told import as_whole, config_from_folder, config_from_shapes, default_size, is_number
from inkpunk.models.trained_for import MOST_NOTES, read_training
from inkpunk.models.training_config import read_training_config
from inkpunk.pictures.fitting import SIZE_MULTIPLE

Module = TypeVar("Module", bound=nn.Module)

CONFIG_KEY = "inkpunk.config"  # in a single file's metadata: what no tensor's shape tells, per component
MOST_SIZE = 2048  # pixels that a model may prefer
DEFAULTS_KEY = "inkpunk.defaults"  # in a single file's metadata: the settings the model draws best with


@dataclass(frozen=True)
class Defaults:
    """The settings a model draws best with, where a request leaves them open."""

    size: int = 512
    steps: int = 25
    guidance: float = 7.5
    note: str | None = None  # what a user should know about every picture of this model
    sampler: str | None = None  # None: what the program that is followed takes


@dataclass(frozen=True)
class Loaded:
    """How a model was loaded, in so far as it changes what is drawn.

    Attributes:
        ema: whether its averaged weights were taken.
        halved: whether its weights of 32 bits were taken at 16.
        narrow: whether its networks multiply in bfloat16, and compute all else in float32.
        speed: the ways of making it fast that were left out, or added.
        deterministic: whether no bit depends on what else there is: see `Pipeline.load`.
        fitting: whether passes get as many threads as they are worth: `Speed.threads`.
    """

    ema: bool = False
    halved: bool = False
    narrow: bool = False
    speed: str = ""
    deterministic: bool = False
    fitting: bool = True


@dataclass(frozen=True)
class Configs:
    """What a checkpoint's components look like: SD v1.5 unless the checkpoint says otherwise."""

    text_encoder: TextEncoderConfig
    unet: UNetConfig
    vae: VAEConfig
    schedule: NoiseSchedule
    prediction: str


def read_configs(
    checkpoint: Checkpoint, *, prediction: str | None = None, zero_snr: bool | None = None
) -> Configs:
    """Learn the configs of a whole checkpoint; `prediction` and `zero_snr` as in `read_training`.

    Raises:
        CheckpointError: where the checkpoint lacks a component or asks for what SD v1 is not.
    """
    schedule, predicted = read_training(checkpoint, prediction, zero_snr)
    return Configs(
        text_encoder=read_config(checkpoint, "text_encoder"),
        unet=read_config(checkpoint, "unet"),
        vae=read_config(checkpoint, "vae"),
        schedule=schedule,
        prediction=predicted,
    )


def read_config(checkpoint: Checkpoint, component: str) -> Any:
    """Learn the config of "text_encoder", "unet" or "vae" from a folder's JSON, or else from shapes and metadata.

    What metadata do not say, training may have left in a single file, or beside it. A folder's JSON is held against
    the shapes, here, before anything of it is built.

    Raises:
        CheckpointError: where the component is not there, is not SD v1's, or is not what its JSON says.
    """
    weights = getattr(checkpoint, component)
    if not weights:
        raise CheckpointError(
            f"{checkpoint.path}: no {component.replace('_', ' ')} inside; to draw, a checkpoint needs text encoder, "
            "UNet and VAE"
        )
    try:
        if told := checkpoint.configs.get(component):
            return config_from_folder(component, told, weights)
        told = told_config(checkpoint.metadata, checkpoint.path, component)
        if isinstance(told, dict):  # or it is refused
            told = {**_told_by_training(checkpoint, component), **cast("dict[str, object]", told)}
        return config_from_shapes(component, told, weights)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {component}: {error}") from error


def _told_by_training(checkpoint: Checkpoint, component: str) -> dict[str, int | float]:
    """What the config of a file's training, and what that left in it, tell of a component."""
    config = read_training_config(checkpoint)
    if component == "unet" and config.heads is not None:
        return {"heads": config.heads}
    if component != "vae":
        return {}
    scaling, name = config.scaling, "scale_factor"
    if name in checkpoint.buffers and checkpoint.buffers.spec(name).numel == 1:
        left = checkpoint.buffers[name].reshape(
            ()
        )  # training has found it; the config has what it began with
        usual = VAEConfig.scaling  # perhaps rounded
        scaling = usual if torch.equal(left, torch.tensor(usual, dtype=left.dtype)) else left.item()
    return {} if scaling is None else {"scaling": scaling}


def read_defaults(checkpoint: Checkpoint) -> Defaults:
    """Read the model's preferred settings from its metadata; SD v1.5's usual ones where it has none.

    A size that it has none of is what a folder's UNet was trained for, if its JSON says so.

    Raises:
        CheckpointError: for a setting that does not exist, or of a value that no request could have.
    """
    settings = told_defaults(checkpoint.metadata, checkpoint.path)
    if "size" not in settings:
        try:
            size = default_size(checkpoint.configs.get("unet", {}), SIZE_MULTIPLE, MOST_SIZE)
        except ValueError as error:
            raise CheckpointError(f"{checkpoint.path}: unet: {error}") from error
        settings |= {"size": size} if size else {}
    return Defaults(**settings)


def told_config(metadata: Mapping[str, object], path: Path, component: str) -> object:
    """What a file's metadata say of a component that its shapes do not tell."""
    return metadata_json(metadata, path, CONFIG_KEY).get(component, {})


def told_defaults(metadata: Mapping[str, object], path: Path) -> dict[str, Any]:
    """The settings that a file's metadata say, by their names in `Defaults`.

    Raises:
        CheckpointError: for a setting that does not exist, or of a value that no request could have.
    """
    settings: dict[str, Any] = {
        name: value if (whole := as_whole(value)) is None or name == "guidance" else whole
        for name, value in metadata_json(metadata, path, DEFAULTS_KEY).items()
    }
    for name, value in settings.items():
        if name not in ALLOWED or not ALLOWED[name](value):
            raise CheckpointError(f"{path}: metadata {DEFAULTS_KEY!r}: {name[:40]!r} cannot be {value!r:.40}")
    if "guidance" in settings:
        settings["guidance"] = float(settings["guidance"])  # JSON writers may drop the ".0"
    return settings


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


# A stranger's file says what to do by default, and what to print: only what a request could ask for, and one line.
ALLOWED: Mapping[str, Callable[[object], bool]] = {
    "size": lambda value: _is_whole(value) and 0 < value <= MOST_SIZE and value % SIZE_MULTIPLE == 0,
    "steps": lambda value: _is_whole(value) and 1 <= value <= 1000,
    "guidance": lambda value: is_number(value) and 0 <= value <= 100,
    "sampler": lambda value: isinstance(value, str) and value in SAMPLERS,
    "note": lambda value: (
        value is None or (isinstance(value, str) and value.isprintable() and len(value) <= 300)
    ),
}


def build(
    make: Callable[[], Module],
    weights: Mapping[str, Tensor],
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    where: str = "weights",
) -> Module:
    """Build a module on the meta device and put the checkpoint's own tensors into it.

    A tensor that already has the wanted device and dtype is used as it lies in the mapped file; any other is
    converted by itself, so that at most one tensor exists twice, and what was read of the file for that is let go of
    on the way. Without a dtype, each keeps its own.

    Raises:
        CheckpointError: where a number is beyond the dtype, by the tensor's name and `where` it is from.
    """
    with torch.device("meta"):
        module = make()
    filled: dict[str, Tensor] = {}
    read = ReadOnce()
    for name in module.state_dict():
        tensor = weights[name]
        filled[name] = (tensor if dtype is None else narrowed(tensor, dtype, name, where)).to(device)
        if filled[name] is not tensor:
            read.add(tensor)
    read.let_go()
    module.load_state_dict(filled, assign=True)
    return module.eval().requires_grad_(False)


def build_components(
    checkpoint: Checkpoint,
    configs: Configs,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    text_dtype: torch.dtype | None,
    changed: Mapping[str, LazyTensors] | None = None,
) -> tuple[TextEncoder, UNet, VAE]:
    """Build all three networks of a checkpoint that `refuse_problems` has let pass.

    `text_dtype` is the text encoder's, `dtype` the others'. `changed` has, by component, the weights to take in place
    of the checkpoint's own.
    """
    build_one = partial(build, device=device, where=str(checkpoint.path))
    weights = {"text_encoder": checkpoint.text_encoder, "unet": checkpoint.unet, **(changed or {})}
    return (
        build_one(lambda: TextEncoder(configs.text_encoder), weights["text_encoder"], dtype=text_dtype),
        build_one(lambda: UNet(configs.unet), weights["unet"], dtype=dtype),
        build_one(lambda: VAE(configs.vae), checkpoint.vae, dtype=dtype),
    )


def refuse_problems(checkpoint: Checkpoint, shown: int = 20) -> None:
    """Let only a sound checkpoint pass.

    Raises:
        CheckpointError: naming at once every tensor that is missing or misshapen, as the file calls it, up to
            the first `shown`.
    """
    problems = checkpoint.report().problems
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems[:shown])
        more = f"\n  ... and {len(problems) - shown} more" if len(problems) > shown else ""
        raise CheckpointError(f"{checkpoint.path}: damaged, or not SD v1; fetch it again:{lines}{more}")


def metadata_json(metadata: Mapping[str, object], path: Path, key: str) -> Mapping[str, Any]:
    """The JSON object that a file's metadata have under a key; an empty one where they have none.

    Raises:
        CheckpointError: it is none, or too long.
    """
    text = metadata.get(key)
    if text is None:
        return {}
    if len(str(text)) > MOST_NOTES:  # parsed, short lists take thirty times as much
        raise CheckpointError(f"{path}: metadata {key!r} takes more than {MOST_NOTES:,} characters; cut it")
    try:
        value = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: metadata {key!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: metadata {key!r} is not a JSON object")
    return cast("dict[str, Any]", value)
