"""The text encoder against its oracle: transformers' CLIPTextModel with the same random weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import TextEncoder, TextEncoderConfig
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from tests.oracles import our_weights

SMALL = TextEncoderConfig(vocabulary=100, positions=19, width=48, layers=3, heads=4, feed_forward=80)


def oracle_for(config: TextEncoderConfig) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocabulary,
            max_position_embeddings=config.positions,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=config.vocabulary - 1,
        )
    ).eval()


def ours_with_the_weights_of(oracle: CLIPTextModel) -> TextEncoder:
    weights = our_weights(oracle)
    config = TextEncoderConfig.from_diffusers(oracle.config.to_dict())
    assert config == TextEncoderConfig.from_weights(weights, heads=config.heads)
    with torch.device("meta"):
        encoder = TextEncoder(config)
    encoder.load_state_dict(weights, assign=True)
    return encoder.eval()


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def randomise(model: CLIPTextModel, seed: int) -> None:
    """Larger and less trivial weights than transformers starts with, so that every part counts."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.5
        parameter.data.normal_(std=spread, generator=generator)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    length=st.integers(1, SMALL.positions),
    skip_layers=st.integers(0, SMALL.layers - 1),
)
@torch.no_grad()
def test_small_encoders_match_transformers(seed: int, batch: int, length: int, skip_layers: int):
    oracle = oracle_for(SMALL)
    randomise(oracle, seed)
    encoder = ours_with_the_weights_of(oracle)
    tokens = torch.randint(SMALL.vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))
    expected = oracle(tokens, output_hidden_states=True)
    assert relative_error(encoder(tokens), expected.last_hidden_state) < 1e-5
    # transformers keeps skipped layers' inputs as they are; Stable Diffusion norms them too.
    final_norm = dict(oracle.named_modules(remove_duplicate=False))
    [norm] = [module for name, module in final_norm.items() if name.endswith("final_layer_norm")]
    skipped = norm(expected.hidden_states[-1 - skip_layers])
    assert relative_error(encoder(tokens, skip_layers=skip_layers), skipped) < 1e-5


@pytest.mark.slow
@torch.no_grad()
def test_the_full_size_encoder_matches_transformers():
    oracle = oracle_for(TextEncoderConfig())
    randomise(oracle, seed=0)
    encoder = ours_with_the_weights_of(oracle)
    tokens = torch.randint(49408, (2, 77), generator=torch.Generator().manual_seed(0))
    assert relative_error(encoder(tokens), oracle(tokens).last_hidden_state) < 1e-5
