"""Our tiny autoencoder and diffusers' AutoencoderTiny, holding the same weights, are the same function."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderTiny
from inkpunk_vae import TinyVAE, TinyVAEConfig
from inkpunk_weights import open_tiny_vae
from safetensors.torch import save_file

from tests.oracles import relative_error

# max |ours - theirs| / max |theirs| in float32, as promised: the same convolutions, so rounding only.
TOLERANCE = 1e-5


def of_taesds_size() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny().eval().requires_grad_(False)


THEIRS = of_taesds_size()


def ours_in(path: Path) -> TinyVAE:
    weights = open_tiny_vae(path).tensors
    with torch.device("meta"):
        ours = TinyVAE(TinyVAEConfig.from_weights(weights))
    ours.load_state_dict(weights, assign=True)
    return ours.eval()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> TinyVAE:
    """Saved by diffusers as it saves itself."""
    folder = tmp_path_factory.mktemp("taesd")
    THEIRS.save_pretrained(folder)
    return ours_in(folder)


def test_taesds_sizes_are_the_default(ours: TinyVAE) -> None:
    assert ours.config == TinyVAEConfig()


@pytest.mark.parametrize(("rows", "columns", "scale"), [(4, 6, 1), (5, 3, 10), (1, 1, 1)])
@torch.no_grad()
def test_decoding_is_diffusers_decoding(ours: TinyVAE, rows: int, columns: int, scale: float) -> None:
    """Also of latents that the bound draws in, which are many at ten times the usual."""
    latents = scale * torch.randn(2, 4, rows, columns)
    found, expected = ours.decode(latents), THEIRS.decode(latents).sample
    assert found.shape == expected.shape
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize(("height", "width"), [(32, 48), (8, 24)])
@torch.no_grad()
def test_encoding_is_diffusers_encoding(ours: TinyVAE, height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width) * 2 - 1
    found, expected = ours.encode(images), THEIRS.encode(images).latents
    assert found.shape == expected.shape
    assert relative_error(found, expected) <= TOLERANCE


@torch.no_grad()
def test_its_authors_decoder_file_is_the_same_decoder(tmp_path: Path) -> None:
    """taesd_decoder: the layers numbered from 1, as a layer that bounds the latents comes before them."""
    layers = THEIRS.decoder.layers.state_dict()
    numbered = {
        f"{int(number) + 1}.{rest}": tensor
        for name, tensor in layers.items()
        for number, rest in [name.split(".", 1)]
    }
    save_file(numbered, tmp_path / "taesd_decoder.safetensors")
    latents = torch.randn(1, 4, 5, 2)
    found = ours_in(tmp_path / "taesd_decoder.safetensors").decode(latents)
    assert relative_error(found, THEIRS.decode(latents).sample) <= TOLERANCE
