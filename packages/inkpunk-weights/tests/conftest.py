"""Small components with random weights."""

import shutil
from collections.abc import Callable
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


# By which the widths above divide.
CONFIGS = {
    "text_encoder": {"num_attention_heads": 2},
    "unet": {"attention_head_dim": 2, "norm_num_groups": 2},
    "vae": {"norm_num_groups": 2},
}
FOLDER = "diffusers folder"

Parts = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="session")
def drawn() -> Parts:
    draw = torch.Generator().manual_seed(0)
    return {
        name: {key: torch.randn(shape, generator=draw) for key, shape in anatomy.tensors()}
        for name, anatomy in ANATOMIES.items()
    }


@pytest.fixture(scope="session")
def saved(drawn: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved")
    save_checkpoint(path / "single.safetensors", **drawn)
    save_checkpoint(path / "folder", **drawn, layout=FOLDER, configs=CONFIGS)
    return path


@pytest.fixture
def parts(drawn: Parts) -> Parts:
    """A text encoder, a UNet and a VAE, by our names."""
    return {name: dict(tensors) for name, tensors in drawn.items()}


@pytest.fixture
def single(saved: Path, tmp_path: Path) -> Path:
    """A single-file checkpoint of `parts`."""
    return Path(shutil.copy(saved / "single.safetensors", tmp_path))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A diffusers folder of `parts`."""
    return Path(shutil.copytree(saved / "folder", tmp_path / "folder"))


@pytest.fixture
def laid_out() -> Callable[[str], dict[str, object]]:
    """Arguments that write `parts` in a layout: a folder must say heads and groups, a file has no room for them."""
    return lambda layout: {"layout": layout} | ({"configs": CONFIGS} if layout == FOLDER else {})
