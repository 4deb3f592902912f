import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_vae import VAE, VAEConfig

# vae/config.json as Stable Diffusion v1.5's own repository has it: older than scaling_factor.
STABLE_DIFFUSION = json.loads("""{
  "_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu",
  "block_out_channels": [128, 256, 512, 512],
  "down_block_types": [
    "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"
  ],
  "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
  "sample_size": 512,
  "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
}""")

# Sizes rather than configs: the type checker that watches a config being made draws on `random`, which
# hypothesis forbids while it chooses.
sizes_of_a_config = st.fixed_dictionaries(
    {
        "image_channels": st.integers(1, 4),
        "latent_channels": st.integers(1, 16),
        "widths": st.lists(st.sampled_from([8, 16, 24]), min_size=1, max_size=4).map(tuple),
        "layers": st.integers(1, 3),
        "groups": st.sampled_from([2, 4, 8]),
        "scaling": st.sampled_from([0.13025, 0.18215, 1.0]),
    }
)


def on_meta(config: VAEConfig) -> VAE:
    with torch.device("meta"):
        return VAE(config)


def test_the_default_is_stable_diffusion():
    assert VAEConfig.from_diffusers(STABLE_DIFFUSION) == VAEConfig()
    assert VAEConfig().factor == 8


@settings(deadline=None, max_examples=15)
@given(sizes_of_a_config)
def test_weights_tell_every_size_that_shapes_can_tell(sizes: dict):
    config = VAEConfig(**sizes)
    weights = on_meta(config).state_dict()
    assert VAEConfig.from_weights(weights, groups=config.groups, scaling=config.scaling) == config


@given(sizes_of_a_config)
def test_a_diffusers_config_tells_every_size(sizes: dict):
    config = VAEConfig(**sizes)
    described = {
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "latent_channels": config.latent_channels,
        "block_out_channels": list(config.widths),
        "layers_per_block": config.layers,
        "norm_num_groups": config.groups,
        "scaling_factor": config.scaling,
    }
    assert VAEConfig.from_diffusers(described) == config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_name", "AutoencoderTiny"),
        ("act_fn", "relu"),
        ("shift_factor", 0.1159),
        ("latents_mean", [0.0] * 4),
        ("use_quant_conv", False),
        ("use_post_quant_conv", False),
        ("mid_block_add_attention", False),
        ("down_block_types", ["AttnDownEncoderBlock2D"] * 4),
        ("up_block_types", "UpDecoderBlock2D"),
        ("out_channels", 4),
        ("layers_per_block", 2.5),
        ("block_out_channels", 128),
        ("block_out_channels", [128, "256"]),
        ("scaling_factor", "0.18215"),
        ("scaling_factor", True),
        ("scaling_factor", float("inf")),
        ("scaling_factor", float("nan")),
        ("scaling_factor", 10**400),
        ("scaling_factor", 1e-30),
        ("latent_channels", 2**64),
        ("layers_per_block", 10**7),
        ("layers_per_block", float("inf")),
        ("block_out_channels", [128, 256, 512, 10**400]),
        ("block_out_channels", [128] * 17),
        ("norm_num_groups", 7),
    ],
)
def test_a_diffusers_config_of_another_kind_is_refused_by_its_key(key: str, value: object):
    with pytest.raises(ValueError, match=key) as refusal:
        VAEConfig.from_diffusers({**STABLE_DIFFUSION, key: value})
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_a_whole_number_may_be_written_with_a_point_and_a_number_without():
    told = {**STABLE_DIFFUSION, "layers_per_block": 2.0, "scaling_factor": 1}
    assert VAEConfig.from_diffusers(told) == VAEConfig(scaling=1.0)


@pytest.mark.parametrize("key", ["block_out_channels", "layers_per_block"])
def test_a_diffusers_config_that_lacks_a_size_is_refused_by_its_key(key: str):
    with pytest.raises(ValueError, match=key):
        VAEConfig.from_diffusers({name: value for name, value in STABLE_DIFFUSION.items() if name != key})


@pytest.mark.parametrize(
    "missing",
    ["encoder.conv_in.weight", "post_quant_conv.weight", "encoder.down.0.resnets.0.conv1.weight"],
)
def test_weights_of_something_else_are_refused_by_the_name_they_lack(missing: str):
    weights = on_meta(VAEConfig(widths=(8, 8), groups=2)).state_dict()
    del weights[missing]
    with pytest.raises(ValueError, match=re.escape(missing)):
        VAEConfig.from_weights(weights, groups=2)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"encoder\.conv_in\.weight"):
        VAEConfig.from_weights({"encoder.conv_in.weight": torch.zeros(3)})


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"widths": ()}, "widths is empty"),
        ({"widths": (128, 100)}, "100.*multiples of groups=32"),
        ({"widths": (0,)}, "positive"),
        ({"layers": 0}, "layers is 0"),
        ({"scaling": 0.0}, "scaling is 0.0"),
        ({"scaling": float("inf")}, "scaling is inf"),
        ({"layers": 10**7}, "layers is 10000000: it must be at most 32"),
        ({"widths": (2**64,)}, "widths is 18446744073709551616: it must be at most 65536"),
        ({"widths": (32,) * 17}, "17 levels: at most 16"),
        ({"latent_channels": -1}, "latent_channels is -1"),
    ],
)
def test_sizes_no_network_can_have_are_refused(sizes: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        VAEConfig(**sizes)
