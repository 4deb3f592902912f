"""Writes the networks of a run as one checkpoint in half precision, as the package ships it."""

import json
from pathlib import Path

import torch
from inkpunk_weights import save_checkpoint

from . import draw
from .draw import Artist


def export(artist: Artist, path: Path = draw.WEIGHTS) -> None:
    """Write `path`, a single safetensors file in Stable Diffusion's layout, with what shapes cannot tell."""
    text_encoder, unet, vae = artist.text_encoder, artist.unet, artist.vae
    configs = {
        "text_encoder": {"heads": text_encoder.config.heads},
        "unet": {"heads": unet.config.heads, "groups": unet.config.groups},
        "vae": {"groups": vae.config.groups},
    }
    defaults = {"size": 128, "steps": draw.STEPS, "guidance": draw.GUIDANCE}
    save_checkpoint(
        path,
        text_encoder=text_encoder.state_dict(),
        unet=unet.state_dict(),
        vae=vae.state_dict(),
        dtype=torch.float16,
        metadata={"inkpunk.config": json.dumps(configs), "inkpunk.defaults": json.dumps(defaults)},
        overwrite=True,
    )
