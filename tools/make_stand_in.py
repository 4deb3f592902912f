"""Writes the stand-in for the sketch model: small, random, and saying so.

    uv run python -m tools.make_stand_in

Until `tools/train_sketch` has trained the sketch model, this keeps the first command working: the whole road runs,
on networks of a few million random numbers, and what it draws is noise.
"""

import json
from pathlib import Path

import torch
from inkpunk_weights import save_checkpoint

from tools.make_checkpoint import SMALL, random_weights

OUT = Path(__file__).parents[1] / "packages/inkpunk-sketch/src/inkpunk_sketch/sketch.safetensors"
DEFAULTS = {
    "size": 128,
    "steps": 25,
    "guidance": 7.5,
    "note": "this small model is not trained: its weights are random, and its pictures are noise",
}
CONFIG = {"text_encoder": {"heads": 12}, "unet": {"heads": 8, "groups": 32}, "vae": {"groups": 32}}


def main(out: Path = OUT) -> None:
    """Write the stand-in into the package."""
    parts = {name: random_weights(make, seed=0) for name, make in SMALL.items()}
    save_checkpoint(
        out,
        text_encoder=parts["text_encoder"],
        unet=parts["unet"],
        vae=parts["vae"],
        dtype=torch.float16,
        metadata={"inkpunk.config": json.dumps(CONFIG), "inkpunk.defaults": json.dumps(DEFAULTS)},
        overwrite=True,
    )


if __name__ == "__main__":
    main()
