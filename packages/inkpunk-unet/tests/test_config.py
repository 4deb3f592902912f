"""A config checks itself, and can be read off weights and off diffusers' config.json."""

import dataclasses
import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import UNet, UNetConfig


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    levels = draw(st.integers(1, 5))
    per_level = functools.partial(st.lists, min_size=levels, max_size=levels)
    heads, groups = draw(st.sampled_from([1, 2, 5, 8])), draw(st.sampled_from([2, 8, 32]))
    # not yet a config: checking annotations draws from `random`, which hypothesis forbids within a strategy
    return {
        "in_channels": draw(st.sampled_from([4, 9, 1])),
        "out_channels": draw(st.integers(1, 8)),
        "widths": tuple(width * heads * groups for width in draw(per_level(st.integers(1, 5)))),
        "layers": draw(st.integers(1, 3)),
        "attention": tuple(draw(per_level(st.booleans()))),
        "heads": heads,
        "context_width": draw(st.integers(1, 1024)),
        "groups": groups,
    }


def weights_of(config: UNetConfig) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return UNet(config).state_dict()


# What the checkpoint's own repository holds, with the keys that change nothing here left in.
STABLE_DIFFUSION_1_5: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}


@settings(deadline=None, max_examples=30)
@given(shape=shapes())
def test_weights_tell_their_config(shape: dict[str, Any]) -> None:
    config = UNetConfig(**shape)
    assert UNetConfig.from_weights(weights_of(config), heads=config.heads, groups=config.groups) == config


def test_weights_of_stable_diffusion_tell_the_default_config() -> None:
    assert UNetConfig.from_weights(weights_of(UNetConfig())) == UNetConfig()


@pytest.mark.parametrize("name", ["conv_in.weight", "conv_out.weight", "down.0.resnets.0.conv1.weight"])
def test_weights_that_lack_a_telling_tensor_are_refused_by_its_name(name: str) -> None:
    weights = weights_of(UNetConfig(widths=(32,), attention=(True,)))
    del weights[name]
    with pytest.raises(ValueError, match=f"no '{name}'"):
        UNetConfig.from_weights(weights)


def test_no_weights_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not a UNet's weights"):
        UNetConfig.from_weights({})


def test_weights_of_the_next_generation_are_refused() -> None:
    weights = weights_of(UNetConfig(widths=(32,), attention=(True,)))
    weights["middle.attention.proj_in.weight"] = torch.empty(32, 32, device="meta")
    with pytest.raises(
        ValueError, match=r"'middle.attention.proj_in.weight' must have 4 dimensions.*\[32, 32\]"
    ):
        UNetConfig.from_weights(weights)


def test_weights_that_do_not_divide_into_the_heads_ask_for_another_number() -> None:
    weights = weights_of(UNetConfig(widths=(60,), attention=(True,), heads=6, groups=6))
    with pytest.raises(ValueError, match=r"widths\[0\] = 60 does not divide into heads = 8"):
        UNetConfig.from_weights(weights, groups=6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"in_channels": 0}, "in_channels must be positive, not 0"),
        ({"layers": -1}, "layers must be positive, not -1"),
        ({"widths": (), "attention": ()}, r"widths must be positive, not \(\)"),
        ({"widths": (320, 0, 1280, 1280)}, "widths must be positive"),
        ({"attention": (True,)}, "one entry for each of the 4 widths, not 1"),
        ({"widths": (320, 650, 1280, 1280)}, r"widths\[1\] = 650 does not divide into groups = 32"),
        ({"heads": 3}, r"widths\[0\] = 320 does not divide into heads = 3"),
        ({"layers": 33}, "layers must be at most 32, not 33"),
        ({"heads": 10**400}, "heads must be at most 65536, not 1000"),
        ({"widths": (320, 640, 1280, 2**64)}, "widths must be at most 65536"),
        ({"widths": (32,) * 17, "attention": (True,) * 17}, "at most 16 levels, not of 17"),
        ({"widths": (33,), "attention": (True,), "groups": 33, "heads": 3}, "must be even"),
    ],
)
def test_numbers_that_make_no_network_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(UNetConfig(), **changes)


def test_levels_without_attention_need_not_divide_into_heads() -> None:
    UNetConfig(widths=(20, 24), attention=(False, False), groups=4, heads=6)
    with pytest.raises(ValueError, match=r"widths\[1\] = 20"):  # the bottom of the U always attends
        UNetConfig(widths=(24, 20), attention=(False, False), groups=4, heads=6)


def test_stable_diffusions_diffusers_config_is_the_default() -> None:
    assert UNetConfig.from_diffusers(STABLE_DIFFUSION_1_5) == UNetConfig()


def test_its_inpainting_variants_config_has_nine_channels() -> None:
    assert UNetConfig.from_diffusers(STABLE_DIFFUSION_1_5 | {"in_channels": 9}) == UNetConfig(in_channels=9)


def test_the_up_levels_may_go_unsaid_and_options_be_null() -> None:
    config = STABLE_DIFFUSION_1_5 | {"class_embed_type": None, "mid_block_only_cross_attention": False}
    config |= {"only_cross_attention": [False] * 4, "transformer_layers_per_block": [1, 1, 1, 1]}
    del config["up_block_types"]
    assert UNetConfig.from_diffusers(config) == UNetConfig()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_class_name", "AutoencoderKL"),
        ("act_fn", "gelu"),
        ("addition_embed_type", "text_time"),
        ("attention_head_dim", [5, 10, 20, 20]),
        ("attention_head_dim", [8, 8, 8]),
        ("attention_head_dim", [8, 8, 8, "8"]),
        ("attention_head_dim", []),
        ("attention_head_dim", None),
        ("block_out_channels", 320),
        ("block_out_channels", [320, "640"]),
        ("class_embed_type", "projection"),
        ("cross_attention_dim", [768, 768]),
        ("down_block_types", ["CrossAttnDownBlock2D", "AttnDownBlock2D"]),
        ("down_block_types", [["DownBlock2D"]]),
        ("down_block_types", None),
        ("flip_sin_to_cos", False),
        ("freq_shift", 1),
        ("in_channels", True),
        ("layers_per_block", 2.5),
        ("layers_per_block", 10**7),
        ("layers_per_block", float("inf")),
        ("layers_per_block", float("nan")),
        ("out_channels", 0),
        ("out_channels", 2**64),
        ("block_out_channels", [320, 640, 1280, 10**400]),
        ("block_out_channels", [320, 650, 1280, 1280]),
        ("norm_num_groups", 7),
        ("attention_head_dim", 3),
        ("cross_attention_dim", -(2**64)),
        ("mid_block_type", None),
        ("norm_num_groups", None),
        ("num_attention_heads", 8),
        ("only_cross_attention", [True, False, False, False]),
        ("time_cond_proj_dim", 256),
        ("transformer_layers_per_block", [1, 2, 10]),
        ("up_block_types", ["CrossAttnUpBlock2D"] * 4),
        ("use_linear_projection", True),
    ],
)
def test_a_diffusers_config_of_another_kind_is_refused_by_the_keys_name(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^unet config: .*{key}") as refusal:
        UNetConfig.from_diffusers(STABLE_DIFFUSION_1_5 | {key: value})
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_one_number_of_heads_may_be_said_for_each_level() -> None:
    for heads in ([8, 8, 8, 8], [8.0] * 4, 8.0):
        assert UNetConfig.from_diffusers(STABLE_DIFFUSION_1_5 | {"attention_head_dim": heads}) == UNetConfig()


def test_a_whole_number_may_be_written_with_a_point() -> None:
    config = STABLE_DIFFUSION_1_5 | {"layers_per_block": 2.0, "block_out_channels": [320.0, 640, 1280, 1280]}
    assert UNetConfig.from_diffusers(config) == UNetConfig()


@pytest.mark.parametrize(
    "key", ["in_channels", "cross_attention_dim", "attention_head_dim", "norm_num_groups"]
)
def test_a_diffusers_config_that_leaves_a_number_out_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} must be a whole number, not None"):
        UNetConfig.from_diffusers(
            {name: value for name, value in STABLE_DIFFUSION_1_5.items() if name != key}
        )
