import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import TextEncoder, TextEncoderConfig

# What transformers writes for SD v1.5's text encoder, less what says nothing of its shape.
SD15_JSON = {
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "vocab_size": 49408,
}

sizes = st.integers(1, 6)


@st.composite
def configs(draw: st.DrawFn) -> TextEncoderConfig:
    heads = draw(sizes)
    return TextEncoderConfig(
        vocabulary=draw(st.integers(1, 50)),
        positions=draw(st.integers(1, 77)),
        width=heads * draw(sizes),
        layers=draw(st.integers(1, 4)),
        heads=heads,
        feed_forward=draw(st.integers(1, 20)),
    )


@settings(deadline=None, max_examples=25)
@given(configs())
def test_weights_tell_their_own_config(config: TextEncoderConfig):
    with torch.device("meta"):
        weights = TextEncoder(config).state_dict()
    assert TextEncoderConfig.from_weights(weights, heads=config.heads) == config


def test_the_defaults_are_stable_diffusion_v15s():
    assert TextEncoderConfig.from_diffusers(SD15_JSON) == TextEncoderConfig()
    with torch.device("meta"):
        weights = TextEncoder(TextEncoderConfig()).state_dict()
    assert TextEncoderConfig.from_weights(weights) == TextEncoderConfig()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TextEncoderConfig)])
@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_is_not_positive_is_refused_by_name(field: str, size: int):
    with pytest.raises(ValueError, match=f"{field} must be a positive whole number, not {size}"):
        TextEncoderConfig(**{field: size})


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="width 768 does not divide among 7 heads"):
        TextEncoderConfig(heads=7)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"),
        ("layer_norm_eps", 1e-6),
        ("model_type", "t5"),
        ("hidden_size", "768"),
        ("hidden_size", True),
        ("hidden_size", 2**64),
        ("num_hidden_layers", 10**7),
        ("num_hidden_layers", 12.5),
        ("num_hidden_layers", float("nan")),
        ("num_attention_heads", 7),
        ("vocab_size", 10**400),
        ("intermediate_size", 0),
    ],
)
def test_a_config_json_that_asks_for_another_encoder_is_refused_by_key(key: str, value: object):
    with pytest.raises(ValueError, match=key) as refusal:
        TextEncoderConfig.from_diffusers({**SD15_JSON, key: value})
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_a_whole_number_may_be_written_with_a_point():
    assert TextEncoderConfig.from_diffusers({**SD15_JSON, "num_hidden_layers": 12.0}) == TextEncoderConfig()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TextEncoderConfig)])
def test_a_size_beyond_every_encoder_is_refused_by_name(field: str):
    with pytest.raises(ValueError, match=f"{field} must be at most"):
        TextEncoderConfig(**{field: 10**400})


def test_a_layer_of_an_absurd_number_is_refused_at_once():
    with torch.device("meta"):
        weights = TextEncoder(TextEncoderConfig(layers=1)).state_dict()
    weights[f"layers.{10**12}.norm1.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="layer 1000000000000 is there, layer 1 is not"):
        TextEncoderConfig.from_weights(weights)


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers"])
def test_a_config_json_without_a_size_is_refused_by_key(key: str):
    with pytest.raises(ValueError, match=key):
        TextEncoderConfig.from_diffusers({name: SD15_JSON[name] for name in SD15_JSON if name != key})


def test_weights_of_something_else_are_refused_by_what_they_lack():
    with pytest.raises(ValueError, match=r"token_embedding\.weight is missing"):
        TextEncoderConfig.from_weights({"conv_in.weight": torch.zeros(1)})


def test_weights_with_a_layer_missing_are_refused_by_its_number():
    with torch.device("meta"):
        weights = TextEncoder(TextEncoderConfig(layers=4)).state_dict()
    gapped = {name: tensor for name, tensor in weights.items() if not name.startswith("layers.2.")}
    with pytest.raises(ValueError, match="layer 3 is there, layer 2 is not"):
        TextEncoderConfig.from_weights(gapped)


def test_a_misshapen_embedding_is_refused_by_name_and_shape():
    with torch.device("meta"):
        weights = TextEncoder(TextEncoderConfig()).state_dict()
    weights["position_embedding.weight"] = torch.zeros(77)
    with pytest.raises(
        ValueError, match=r"position_embedding\.weight must be a matrix, and its shape is \[77\]"
    ):
        TextEncoderConfig.from_weights(weights)
