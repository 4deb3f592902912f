"""The text encoder against its oracle: transformers' CLIPTextModel with the same random weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import TextEncoderConfig

from tests.oracles import clip_text_model, ours_with_the_weights_of, randomise, relative_error

SMALL = TextEncoderConfig(vocabulary=100, positions=19, width=48, layers=3, heads=4, feed_forward=80)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    length=st.integers(1, SMALL.positions),
    skip_layers=st.integers(0, SMALL.layers - 1),
)
@torch.no_grad()
def test_small_encoders_match_transformers(seed: int, batch: int, length: int, skip_layers: int):
    oracle = clip_text_model(SMALL)
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
    oracle = clip_text_model(TextEncoderConfig())
    randomise(oracle, seed=0)
    encoder = ours_with_the_weights_of(oracle)
    tokens = torch.randint(49408, (2, 77), generator=torch.Generator().manual_seed(0))
    assert relative_error(encoder(tokens), oracle(tokens).last_hidden_state) < 1e-5
