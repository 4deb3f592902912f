"""Our UNet and diffusers' UNet2DConditionModel, holding the same weights, are the same function."""

import functools
import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from inkpunk_unet import Residuals, UNet, UNetConfig, timestep_embedding

from tests.oracles import our_weights

# max |ours - theirs| / max |theirs| in float32: rounding only, with room for another order of summation.
TOLERANCE = 2e-5


@functools.cache
def both(in_channels: int = 4) -> tuple[UNet, UNet2DConditionModel]:
    torch.manual_seed(in_channels)
    theirs = UNet2DConditionModel(
        in_channels=in_channels,
        block_out_channels=(32, 64, 64, 96),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        attention_head_dim=4,
        cross_attention_dim=24,
        norm_num_groups=16,
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 1:  # norms and biases too, which start as ones and zeros
                parameter.add_(0.1 * torch.randn_like(parameter))
    ours = UNet(UNetConfig.from_diffusers(json.loads(theirs.to_json_string()))).eval()
    ours.load_state_dict(our_weights(theirs))
    return ours, theirs


def test_diffusers_config_and_weights_tell_the_same() -> None:
    ours, theirs = both(in_channels=9)
    assert ours.config == UNetConfig.from_weights(our_weights(theirs), heads=4, groups=16)


@pytest.mark.parametrize("in_channels", [4, 9])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24), (15, 15), (13, 9), (17, 10), (1, 3)])
def test_predictions_are_the_same(in_channels: int, height: int, width: int) -> None:
    ours, theirs = both(in_channels)
    latents, context = torch.randn(2, in_channels, height, width), torch.randn(2, 7, 24)
    for timesteps in (torch.tensor([999, 0]), torch.tensor(250.5)):
        with torch.no_grad():
            expected = theirs(latents, timesteps, context).sample
            predicted = ours(latents, timesteps, context)
        assert (predicted - expected).abs().max() <= TOLERANCE * expected.abs().max()


SKIPS = (32, 32, 32, 32, 64, 64, 64, 64, 64, 64, 96, 96)  # channels; three skips to a level


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24), (13, 9), (1, 3)])
def test_predictions_with_residuals_are_the_same(height: int, width: int) -> None:
    ours, theirs = both()
    latents, context = torch.randn(2, 4, height, width), torch.randn(2, 7, 24)
    sizes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(4)]  # halving rounds up
    skips = [torch.randn(2, channels, *sizes[index // 3]) for index, channels in enumerate(SKIPS)]
    middle = torch.randn(2, 96, *sizes[3])
    for timesteps in (torch.tensor([999, 0]), torch.tensor(250.5)):
        with torch.no_grad():
            expected = theirs(
                latents,
                timesteps,
                context,
                down_block_additional_residuals=tuple(skips),
                mid_block_additional_residual=middle,
            ).sample
            predicted = ours(latents, timesteps, context, Residuals(tuple(skips), middle))
        assert (predicted - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_timestep_embeddings_are_the_same() -> None:
    timesteps = torch.arange(1000)
    expected = UNet2DConditionModel(block_out_channels=(32, 64, 64, 64)).time_proj(timesteps)
    assert torch.equal(timestep_embedding(timesteps, 32), expected)
