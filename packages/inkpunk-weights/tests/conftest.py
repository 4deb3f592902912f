"""Small components with random weights."""

from pathlib import Path

import pytest
import torch
from inkpunk_weights import save_checkpoint
from inkpunk_weights.anatomy import TextEncoderAnatomy, UNetAnatomy, VAEAnatomy
from torch import Tensor

ANATOMIES = {
    "text_encoder": TextEncoderAnatomy(vocabulary=11, positions=5, width=4, layers=2, feed_forward=6),
    "unet": UNetAnatomy(widths=(4, 6), layers=1, attention=(True, False), context_width=4),
    "vae": VAEAnatomy(widths=(4, 6), layers=1),
}


@pytest.fixture
def parts() -> dict[str, dict[str, Tensor]]:
    """A text encoder, a UNet and a VAE, by our names."""
    draw = torch.Generator().manual_seed(0)
    return {
        name: {key: torch.randn(shape, generator=draw) for key, shape in anatomy.tensors()}
        for name, anatomy in ANATOMIES.items()
    }


@pytest.fixture
def single(parts: dict[str, dict[str, Tensor]], tmp_path: Path) -> Path:
    """A single-file checkpoint of `parts`."""
    save_checkpoint(tmp_path / "single.safetensors", **parts)
    return tmp_path / "single.safetensors"


@pytest.fixture
def folder(parts: dict[str, dict[str, Tensor]], tmp_path: Path) -> Path:
    """A diffusers folder of `parts`."""
    save_checkpoint(tmp_path / "folder", **parts, layout="diffusers folder")
    return tmp_path / "folder"
