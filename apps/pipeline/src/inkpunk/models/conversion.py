"""The same weights in another layout or precision."""

import json
from collections.abc import Mapping
from pathlib import Path

from inkpunk_clip import vocabulary_files
from inkpunk_weights import Checkpoint, CheckpointError, Layout, open_checkpoint, save_checkpoint

from inkpunk.memory.precision import DTYPES
from inkpunk.models.hub import resolve_model
from inkpunk.models.loading import (
    CONFIG_KEY,
    DEFAULTS_KEY,
    Defaults,
    read_config,
    read_defaults,
    refuse_problems,
)
from inkpunk.models.told import UNTOLD
from inkpunk.models.trained_for import (
    MODELSPEC_KEY,
    SCHEDULER_KEY,
    V_SIGN,
    ZERO_SNR_SIGN,
    read_training,
    scheduler_config,
)
from inkpunk.pictures.fitting import SIZE_MULTIPLE

LAYOUTS: dict[str, Layout] = {
    "safetensors": "single-file safetensors",
    "ckpt": "single-file ckpt",
    "diffusers": "diffusers folder",
}
ENDINGS = {".safetensors": "safetensors", ".ckpt": "ckpt", "": "diffusers"}


def convert_checkpoint(
    source: str | Path,
    out: Path,
    *,
    layout: str | None = None,
    dtype: str | None = None,
    ema: bool = False,
    prediction: str | None = None,
    zero_snr: bool | None = None,
    overwrite: bool = False,
) -> None:
    """Write the checkpoint `source` to `out`.

    Args:
        source: a checkpoint file, a diffusers folder, a hub id, or "sketch".
        out: the file or folder to write.
        layout: "safetensors", "ckpt" or "diffusers"; by default what `out`'s ending says.
        dtype: "float32", "float16" or "bfloat16"; by default each tensor keeps its own.
        ema: take a training checkpoint's averaged (EMA) weights.
        prediction, zero_snr: what the model was trained for, where its files do not say it: see `Pipeline.load`.
        overwrite: replace `out` when it exists.

    Raises:
        CheckpointError: for a source that is damaged or incomplete (all at once), or an `out` that exists already
            or whose ending says nothing.
    """
    layout = layout or ENDINGS.get(out.suffix.lower())
    if layout is None:
        raise CheckpointError(
            f"{out}: the ending {out.suffix!r} tells no layout; name it .safetensors or .ckpt, or add --layout"
        )
    checkpoint = open_checkpoint(resolve_model(str(source)), ema=ema)
    refuse_problems(checkpoint)
    told = _told(checkpoint)
    folder = layout == "diffusers"
    schedule, predicted = read_training(checkpoint, prediction, zero_snr)
    scheduler = scheduler_config(checkpoint, schedule, predicted)
    metadata = {key: str(value) for key, value in checkpoint.metadata.items()} | {
        CONFIG_KEY: json.dumps(told),
        SCHEDULER_KEY: json.dumps(scheduler),
    }
    size = read_defaults(checkpoint).size
    if size != Defaults.size:  # which a folder's UNet may have told
        metadata[DEFAULTS_KEY] = json.dumps({**json.loads(metadata.get(DEFAULTS_KEY, "{}")), "size": size})
    if predicted != "epsilon":
        metadata[MODELSPEC_KEY] = predicted
    signs = {V_SIGN: predicted == "v", ZERO_SNR_SIGN: schedule.zero_snr}
    save_checkpoint(
        out,
        text_encoder=checkpoint.text_encoder,
        unet=checkpoint.unet,
        vae=checkpoint.vae,
        layout=LAYOUTS[layout],
        dtype=DTYPES[dtype] if dtype else None,
        metadata=metadata,
        configs=_in_diffusers_words(told, size) | {"scheduler": scheduler} if folder else {},
        extra_files=_tokenizer_files() if folder and checkpoint.text_encoder else {},
        signs=() if folder else tuple(name for name, given in signs.items() if given),
        overwrite=overwrite,
    )


def _told(checkpoint: Checkpoint) -> dict[str, dict[str, int | float]]:
    """What no tensor's shape tells of each component that is there: it must travel beside the tensors."""
    configs = {name: read_config(checkpoint, name) for name in checkpoint.components}
    return {name: {key: getattr(config, key) for key in UNTOLD[name]} for name, config in configs.items()}


def _in_diffusers_words(told: Mapping[str, Mapping[str, object]], size: int) -> dict[str, dict[str, object]]:
    configs = {
        component: {UNTOLD[component][key]: value for key, value in values.items()}
        for component, values in told.items()
    }
    if "unet" in configs:
        configs["unet"]["sample_size"] = size // SIZE_MULTIPLE
    return configs


def _tokenizer_files() -> dict[str, bytes]:
    return {f"tokenizer/{name}": data for name, data in vocabulary_files().items()}
