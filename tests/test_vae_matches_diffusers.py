"""Our VAE and diffusers' AutoencoderKL, holding the same weights, are the same function."""

import pytest
import torch
from diffusers import AutoencoderKL
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_vae import VAE, VAEConfig
from inkpunk_vae.tiling import tiled_decode, tiled_encode
from torch import Tensor

from tests.oracles import our_weights

# max |ours - theirs| / max |theirs| in float32: rounding only, with room for another order of summation.
TOLERANCE = 2e-5


def both(seed: int = 0) -> tuple[VAE, AutoencoderKL]:
    torch.manual_seed(seed)
    theirs = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 32, 32),
        layers_per_block=2,
        norm_num_groups=4,
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms too, which start as ones and zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    ours = VAE(VAEConfig.from_diffusers(theirs.config)).eval()
    ours.load_state_dict(our_weights(theirs))
    return ours, theirs


OURS, THEIRS = both()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() <= TOLERANCE


sizes = pytest.mark.parametrize(("rows", "columns"), [(8, 8), (4, 6), (5, 7), (1, 3)])


@sizes
@torch.no_grad()
def test_decoding_is_diffusers_decoding(rows: int, columns: int):
    latents = torch.randn(2, 4, rows, columns)
    theirs = THEIRS.decode(latents / THEIRS.config.scaling_factor).sample
    assert_same(OURS.decode(latents), theirs)
    assert_same(tiled_decode(OURS, latents, rows=3), theirs)


@sizes
@torch.no_grad()
def test_encoding_is_diffusers_encoding(rows: int, columns: int):
    images = torch.rand(2, 3, 8 * rows, 8 * columns) * 2 - 1
    theirs = THEIRS.encode(images).latent_dist
    for posterior in (OURS.encode(images), tiled_encode(OURS, images, rows=3)):
        assert_same(posterior.mean, theirs.mean * THEIRS.config.scaling_factor)
        assert_same(posterior.std, theirs.std * THEIRS.config.scaling_factor)


def test_the_same_noise_draws_the_same_latents():
    images = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        theirs = THEIRS.encode(images).latent_dist.sample(torch.Generator().manual_seed(7))
        noise = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(7))
        assert_same(OURS.encode(images).sample(noise), theirs * THEIRS.config.scaling_factor)


@settings(deadline=None, max_examples=5)
@given(
    widths=st.lists(st.sampled_from([8, 16]), min_size=1, max_size=3),
    layers=st.integers(1, 2),
    groups=st.sampled_from([2, 4]),
)
def test_our_network_has_the_parameters_of_any_diffusers_config(widths: list[int], layers: int, groups: int):
    theirs = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        layers_per_block=layers,
        norm_num_groups=groups,
    )
    weights = our_weights(theirs)
    config = VAEConfig.from_diffusers(theirs.config)
    assert config == VAEConfig.from_weights(weights, groups=groups)
    VAE(config).load_state_dict(weights)
