"""The same weights in another layout or precision."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
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
from inkpunk.models.loras import COMPONENTS, Lora, Plain, changes_by, with_changes, with_defaults_of
from inkpunk.models.previews import PREVIEW_KEY, LinearPreview, read_preview
from inkpunk.models.told import UNTOLD
from inkpunk.models.trained_for import (
    MODELSPEC_KEY,
    SCHEDULER_KEY,
    V_SIGN,
    ZERO_SNR_SIGN,
    read_training,
    scheduler_config,
)
from inkpunk.models.vocabulary import TOKENIZER_KEY, own_files, read_tokenizer
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
    loras: Sequence[str | Path | Lora] = (),
    lora_folder: Path | None = None,
    prediction: str | None = None,
    zero_snr: bool | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write the checkpoint `source` to `out`; return what a user should know of it, a line each.

    Args:
        source: a checkpoint file, a diffusers folder, a hub id, or "sketch".
        out: the file or folder to write.
        layout: "safetensors", "ckpt" or "diffusers"; by default what `out`'s ending says.
        dtype: "float32", "float16" or "bfloat16"; by default each tensor keeps its own.
        ema: take a training checkpoint's averaged (EMA) weights.
        loras, lora_folder: adapters that are merged into the weights, in float32: see `Pipeline.with_adapters`. How
            a model is to be asked with them is kept, too.
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
    own = own_files(checkpoint)
    tokenizer = read_tokenizer(checkpoint) if own or (folder and checkpoint.text_encoder) else None
    weights = {name: tensors for name in COMPONENTS if (tensors := getattr(checkpoint, name))}
    plain = Plain(weights, read_defaults(checkpoint), str(checkpoint.path), None)
    opened, notes = plain.opened(loras, lora_folder)
    defaults = with_defaults_of(opened, plain.defaults)
    metadata |= _changed_defaults(metadata.get(DEFAULTS_KEY, "{}"), plain.defaults, defaults)
    if (preview := read_preview(checkpoint)) != LinearPreview():
        metadata[PREVIEW_KEY] = preview.to_json()
    notices = (*_not_carried(checkpoint), *notes)
    baked = {
        name: with_changes(
            tensors, changes_by(opened, name), lambda own: DTYPES.get(dtype or "", own), plain.where
        )
        for name, tensors in weights.items()
    }
    metadata.pop(TOKENIZER_KEY, None)
    if not folder and tokenizer is not None and tokenizer.own:
        metadata[TOKENIZER_KEY] = json.dumps({name: data.decode() for name, data in own.items()})
        notices += (
            "its own vocabulary is kept in the metadata, where Inkpunk reads it; other programs take CLIP's",
        )
    if predicted != "epsilon" or MODELSPEC_KEY in metadata:
        metadata[MODELSPEC_KEY] = predicted
    signs = {V_SIGN: predicted == "v", ZERO_SNR_SIGN: schedule.zero_snr}
    save_checkpoint(
        out,
        text_encoder=baked.get("text_encoder"),
        unet=baked.get("unet"),
        vae=checkpoint.vae,
        layout=LAYOUTS[layout],
        dtype=DTYPES[dtype] if dtype else None,
        metadata=metadata,
        configs=_in_diffusers_words(told, defaults.size) | {"scheduler": scheduler} if folder else {},
        extra_files=_tokenizer_files(own) if folder and checkpoint.text_encoder else {},
        signs=() if folder else tuple(name for name, given in signs.items() if given),
        overwrite=overwrite,
    )
    return notices


def _changed_defaults(told: str, before: Defaults, after: Defaults) -> dict[str, str]:
    """The metadata of a model's defaults, where they are not as its own metadata tell them."""
    changed = {name: value for name, value in asdict(after).items() if value != getattr(before, name)}
    if after.size != Defaults.size:  # which a folder's UNet may have told
        changed["size"] = after.size
    return {DEFAULTS_KEY: json.dumps({**json.loads(told), **changed})} if changed else {}


def _not_carried(checkpoint: Checkpoint, shown: int = 3) -> tuple[str, ...]:
    """One line of the tensors that no component has, if there are any: they are not written."""
    names = [name for name in checkpoint.unknown if name not in (V_SIGN, ZERO_SNR_SIGN)]
    if not names:
        return ()
    some = ", ".join(f"{name!r:.80}" for name in names[:shown]) + (", ..." if len(names) > shown else "")
    what = "tensor" if len(names) == 1 else "tensors"
    return (f"not carried over: {len(names)} {what} of no component of Stable Diffusion v1: {some}",)


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


def _tokenizer_files(own: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"tokenizer/{name}": data for name, data in (own or vocabulary_files()).items()}
