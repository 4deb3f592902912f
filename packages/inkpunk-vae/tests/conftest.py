"""A small autoencoder, of the full one's structure, for the tests."""

import pytest
import torch
from inkpunk_vae import VAE, VAEConfig

torch.set_num_threads(1)  # these networks are too small to share


@pytest.fixture(scope="session")
def vae() -> VAE:
    """Three levels, so a factor of 4; its norms are not the identity, as they are in a fresh network."""
    torch.manual_seed(0)
    vae = VAE(VAEConfig(widths=(8, 16, 16), layers=1, groups=4)).eval().requires_grad_(False)
    for parameter in vae.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return vae
