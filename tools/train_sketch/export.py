"""Writes the networks of a run as one checkpoint in half precision, as the package ships it."""

import json
from pathlib import Path

import torch
from inkpunk_weights import save_checkpoint

from . import draw, train_diffusion, train_vae
from .draw import Artist

NOTE = "a small model in the box: it knows thirty-two subjects and eight colours at 128 x 128"


def export(run: Path, path: Path) -> None:
    """Write `path`, a single safetensors file in Stable Diffusion's layout, with what shapes cannot tell."""
    artist = Artist.of(run)
    configs = {
        "text_encoder": {"heads": train_diffusion.TEXT.heads},
        "unet": {"heads": train_diffusion.UNET.heads, "groups": train_diffusion.UNET.groups},
        "vae": {"groups": train_vae.CONFIG.groups},
    }
    defaults = {"size": 128, "steps": draw.STEPS, "guidance": draw.GUIDANCE, "note": NOTE}
    save_checkpoint(
        path,
        text_encoder=artist.sketch.text_encoder.state_dict(),
        unet=artist.sketch.unet.state_dict(),
        vae=artist.vae.state_dict(),
        dtype=torch.float16,
        metadata={"inkpunk.config": json.dumps(configs), "inkpunk.defaults": json.dumps(defaults)},
        overwrite=True,
    )
