"""The same weights in another layout or precision."""

from pathlib import Path
from typing import Literal

from inkpunk_clip import vocabulary_files
from inkpunk_weights import Checkpoint, CheckpointError, open_checkpoint, save_checkpoint

from inkpunk.devices import DTYPES
from inkpunk.hub import resolve_model

Layout = Literal["safetensors", "ckpt", "diffusers"]
LAYOUTS = {
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
    overwrite: bool = False,
) -> None:
    """Write the checkpoint `source` to `out`.

    Args:
        source: a checkpoint file, a diffusers folder, a hub id, or "sketch".
        out: the file or folder to write.
        layout: "safetensors", "ckpt" or "diffusers"; by default what `out`'s ending says.
        dtype: "float32", "float16" or "bfloat16"; by default each tensor keeps its own.
        ema: take a training checkpoint's averaged (EMA) weights.
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
    problems = checkpoint.report().problems
    if problems:
        raise CheckpointError(f"{checkpoint.path}: damaged, so not converted: {'; '.join(map(str, problems[:20]))}")
    save_checkpoint(
        out,
        text_encoder=checkpoint.text_encoder or None,
        unet=checkpoint.unet or None,
        vae=checkpoint.vae or None,
        layout=LAYOUTS[layout],
        dtype=DTYPES[dtype] if dtype else None,
        metadata={key: str(value) for key, value in checkpoint.metadata.items()},
        configs=checkpoint.configs,
        extra_files={f"tokenizer/{name}": data for name, data in vocabulary_files().items()}
        if layout == "diffusers" and checkpoint.text_encoder
        else {},
        overwrite=overwrite,
    )
