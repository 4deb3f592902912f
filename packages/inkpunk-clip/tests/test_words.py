"""Learned words: vectors in the place of tokens."""

import pytest
import torch
from inkpunk_clip import LearnedWords, TextEncoder, TextEncoderConfig, Tokenizer, context_at

TOKENIZER = Tokenizer()
CONFIG = TextEncoderConfig(width=32, layers=2, heads=4, feed_forward=40)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(CONFIG).requires_grad_(False)


def units(text: str, **words: int) -> list[tuple[str, tuple[int, ...]]]:
    learned = LearnedWords({name: torch.zeros(count, 8) for name, count in words.items()}, TOKENIZER)
    return [*learned.units(TOKENIZER.encode(text))]


@pytest.mark.parametrize("text", ["easynegative", "EasyNegative", "embedding:easynegative", "easynegative,"])
def test_a_word_is_found_in_any_case_and_as_comfyui_writes_it(text: str) -> None:
    assert units(text, easynegative=2)[0] == ("easynegative", (49408, 49409))


def test_of_several_the_longest_is_taken_and_the_rest_of_the_text_stays() -> None:
    learned = LearnedWords({"bad": torch.zeros(1, 8), "bad-hands-5": torch.zeros(2, 8)}, TOKENIZER)
    found = [*learned.units(TOKENIZER.encode("a bad fox, bad-hands-5!"))]
    assert [name for name, _ in found] == ["", "bad", "", "", "bad-hands-5", ""]
    assert [ids for name, ids in found if name] == [(49408,), (49409, 49410)]
    assert [learned.name_of(token) for token in (320, 49408, 49410, 49411)] == ["", "bad", "bad-hands-5", ""]


def test_a_word_of_the_vocabularys_own_vectors_is_that_text(encoder: TextEncoder) -> None:
    tokens = TOKENIZER.encode("red fox")
    words = LearnedWords({"thing": encoder.token_embedding.weight[tokens]}, TOKENIZER)
    learned = context_at("a (thing:1.3) at night", 0, 1, TOKENIZER, encoder, words=words)
    assert torch.equal(learned, context_at("a (red fox:1.3) at night", 0, 1, TOKENIZER, encoder))


def test_vectors_of_another_dtype_are_brought_to_the_encoders(encoder: TextEncoder) -> None:
    vectors = torch.randn(2, 32)
    contexts = [
        context_at("a thing", 0, 1, TOKENIZER, encoder, words=LearnedWords({"thing": each}, TOKENIZER))
        for each in (vectors.half(), vectors.half().double())
    ]
    assert contexts[0].dtype == torch.float32
    assert torch.equal(*contexts)


def test_the_encoder_takes_ids_beyond_its_vocabulary_for_learned_ones(encoder: TextEncoder) -> None:
    learned = torch.randn(3, 32)
    tokens = torch.tensor([[1, 49410, 2, 49408]])
    embedded = torch.cat([encoder.token_embedding.weight, learned])
    changed = TextEncoder(TextEncoderConfig(49411, width=32, layers=2, heads=4, feed_forward=40))
    changed.load_state_dict(encoder.state_dict() | {"token_embedding.weight": embedded})
    with torch.no_grad():
        assert torch.equal(encoder(tokens, learned=learned), changed(tokens))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"a": torch.zeros(76, 8)}, "'a': 76 vectors; it may have 1 to 75"),
        ({"a": torch.zeros(0, 8)}, "'a': 0 vectors"),
        ({"a": torch.zeros(1, 8), "b": torch.zeros(1, 9)}, "'b': its vectors are 9 wide, others 8"),
    ],
)
def test_words_that_cannot_be_are_refused(words: dict[str, torch.Tensor], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LearnedWords(words, TOKENIZER)
