"""Token ids against their oracle: transformers' CLIPTokenizer, built offline from the same merges file."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inkpunk_clip import Tokenizer, vocabulary_files
from transformers import CLIPTokenizer

from tests.oracles import clip_tokenizer

# What has its own path through the normaliser, the word rule or the special tokens, to be met often.
PARTICULARS = [
    "<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|StartOfText|>", "<|endoftext", "|>", "</w>",
    "nvinkpunk", "Cyberpunk", "don't", "WE'LL", "'s", "'S", "'", "’s", "1girl", "8k", "٣४", "½", "Ⅷ", "²",
    " ", "\t", "\r\n", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u1680", "\u2003", "\u2028", "\u200b", "\u3000",
    "\0", "\x1f", "\x7f", "\u0301", "\u0323", "\u20dd", "e\u0301", "e\u0301\u0323", "\u0344", "Å", "ﬁ", "ǅ",
    "İ", "ı", "ẞ", "ß", "Σ", "ΟΔΟΣ", "한", "\u1112\u1161\u11ab", "漢字", "\uf900", "かな", "ｶﾅ",
    "สวัสดี", "नमस्ते", "مرحبا",
    "שָׁלוֹם", "Привет", "\u202e", "\u200d", "\ufe0f", "👩🏽‍🚀", "🏴‍☠️", "🇺🇳", "❤️",
    "\ufeff", "\ufffd", "\uffff", "\U000e0041",
    "\ue000", "\U0010ffff",
]  # fmt: skip

unicode_texts = st.text(st.characters(codec="utf-8"))  # every character but the surrogates
mixtures = st.lists(st.sampled_from(PARTICULARS) | unicode_texts, max_size=60).map("".join)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return clip_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def ids_of(oracle: CLIPTokenizer, texts: list[str]) -> list[list[int]]:
    return oracle(texts, padding="max_length", truncation=True, max_length=77).input_ids


@settings(deadline=None, max_examples=500)
@given(unicode_texts)
@example("")
@example("nvinkpunk cyberpunk samurai with neon mask, glowing swords")
def test_any_unicode_text_has_transformers_ids(oracle: CLIPTokenizer, text: str):
    assert Tokenizer()(text).tolist() == ids_of(oracle, [text])


@settings(deadline=None, max_examples=500)
@given(mixtures)
@example("".join(PARTICULARS))
@example(" ".join(reversed(PARTICULARS)))
def test_mixed_scripts_marks_controls_emoji_and_special_tokens_have_transformers_ids(
    oracle: CLIPTokenizer, text: str
):
    assert Tokenizer()(text).tolist() == ids_of(oracle, [text])
    assert Tokenizer().count(text) == len(oracle(text, add_special_tokens=False).input_ids)


@settings(deadline=None, max_examples=30)
@given(st.lists(mixtures, min_size=1, max_size=4), st.integers(1, 200))
def test_batches_and_long_texts_have_transformers_ids(oracle: CLIPTokenizer, texts: list[str], times: int):
    texts = [texts[0] * times, *texts[1:]]
    assert Tokenizer()(texts).tolist() == ids_of(oracle, texts)


def test_every_character_of_the_living_scripts_and_emoji_has_transformers_ids(oracle: CLIPTokenizer):
    codes = [*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x20000)]
    # Each between two letters, which shows a letter, a mark, a digit and white space apart; 12 a text, so
    # that hardly any are truncated away.
    texts = ["a".join(chr(code) for code in codes[start : start + 12]) for start in range(0, len(codes), 12)]
    assert Tokenizer()(texts).tolist() == ids_of(oracle, texts)


LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
FEW = [*LETTERS, *(f"{each}</w>" for each in LETTERS), "ra", "rav", "<|startoftext|>", "<|endoftext|>"]
OWN = {
    "vocab.json": json.dumps({word: index for index, word in enumerate(FEW)}).encode(),
    "merges.txt": b"#version: 0.2\nr a\nra v\n",
}
ADDED = vocabulary_files() | {"added_tokens.json": b'{"<sks>": 49408, "<two>": 49409}'}


@pytest.mark.parametrize("files", [OWN, ADDED])
def test_a_vocabulary_of_its_own_is_read_alike(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    theirs, ours = CLIPTokenizer.from_pretrained(tmp_path), Tokenizer.from_files(files)
    for text in ("Raven", "a raven, over ü sea", "sks <sks> <TWO>x", "1 2", ""):
        assert theirs(text)["input_ids"] == [ours.start, *ours.encode(text), ours.end]
