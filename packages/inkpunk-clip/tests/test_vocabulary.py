"""Tokenizers with a vocabulary of their own."""

import json
from typing import Any

import pytest
from inkpunk_clip import EMPTY, Tokenizer, understand, vocabulary_files

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = [*LETTERS, *(f"{each}</w>" for each in LETTERS), "ra", "rav", START, END]
MERGES = "#version: 0.2\nr a\nra v\n"


def files(words: list[str] = WORDS, merges: str = MERGES, **others: object) -> dict[str, bytes]:
    vocabulary = {word: index for index, word in enumerate(words)}
    made = {"vocab.json": json.dumps(vocabulary).encode(), "merges.txt": merges.encode()}
    return made | {f"{name}.json": json.dumps(value).encode() for name, value in others.items()}


def test_a_vocabulary_of_its_own_is_followed() -> None:
    tokenizer = Tokenizer.from_files(files())
    assert tokenizer.own and tokenizer.size == len(WORDS)
    ids = [WORDS.index(each) for each in ("rav", "e", "n</w>")]
    assert tokenizer.encode("Raven") == ids
    start, end = WORDS.index(START), WORDS.index(END)
    assert tokenizer("raven")[0].tolist() == [start, *ids, *[end] * 73]
    assert tokenizer.encode("ü") == [end] * 2  # both bytes are in no entry
    [moment] = understand("(raven:1.2), sea", 1, tokenizer)[0].moments
    assert moment.chunks[0].tokens[:4] == (start, *ids) and moment.chunks[0].tokens[-1] == end
    assert moment.chunks[0].empty.tokens == (start, *[end] * 76)


def test_a_tokenizer_json_says_the_same() -> None:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    for merges in (["r a", "ra v"], [["r", "a"], ["ra", "v"]]):
        model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "end_of_word_suffix": "</w>"}
        told = {"model": model, "added_tokens": [{"content": "<sks>", "id": len(WORDS)}]}
        tokenizer = Tokenizer.from_files({"tokenizer.json": json.dumps(told).encode()})
        assert tokenizer.encode("raven <sks>")[0] == WORDS.index("rav")
        assert tokenizer.encode("raven <SKS>")[-1] == len(WORDS)


def test_clips_own_files_are_clips_tokenizer() -> None:
    tokenizer = Tokenizer.from_files(vocabulary_files())
    assert not tokenizer.own and tokenizer.size == 49408
    assert EMPTY.empty == EMPTY
    assert tokenizer.encode("a raven") == Tokenizer().encode("a raven")


def test_words_may_be_added_to_clips() -> None:
    added = {"added_tokens.json": json.dumps({"<sks>": 49408, "<two>": 49409}).encode()}
    tokenizer = Tokenizer.from_files(vocabulary_files() | added)
    assert tokenizer.own and tokenizer.size == 49410
    assert tokenizer.encode("a <two> <sks>") == [*Tokenizer().encode("a"), 49409, 49408]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "holds nothing"),
        ({"vocab.json": b"{}"}, "holds vocab.json"),
        (files() | {"vocab.json": b"{"}, "vocab.json: not JSON"),
        (files() | {"vocab.json": b"\xff\xfe"}, "vocab.json: not JSON"),
        (files() | {"vocab.json": b"[]"}, "not a JSON object"),
        (files() | {"vocab.json": b'{"a": "b"}'}, "whole numbers from 0"),
        (files() | {"vocab.json": b'{"a": 1, "b": 1}'}, "whole numbers from 0"),
        (files() | {"vocab.json": b'{"a": 0}'}, "'<|startoftext|>' is not in its vocabulary"),
        (files() | {"merges.txt": b"\xff"}, "merges.txt: not UTF-8"),
        (files(merges="#version\na b c"), "'a b c' is no pair"),
        (files(merges="#version\na zz"), "merges.txt: does not go with"),
        (files(added_tokens={"x": 1000}), "whole numbers from 0"),
        (files(tokenizer_config={"tokenizer_class": "T5Tokenizer"}), "T5Tokenizer"),
        (files(tokenizer_config={"do_lower_case": False}), "lower case"),
        (files(special_tokens_map={"pad_token": {"content": "a"}}), "pad_token is 'a'"),
        (files(tokenizer_config={"bos_token": "zz"}), "'zz' is not in its vocabulary"),
        ({"tokenizer.json": b'{"model": {"type": "Unigram"}}'}, "another way than CLIP's"),
        ({"tokenizer.json": b'{"model": {"end_of_word_suffix": "</w>"}}'}, "malformed"),
        ({"tokenizer.json": b"[" + b"[]," * 600_000 + b"0]"}, "tokenizer.json: more than 400,000 values"),
        (files() | {"vocab.json": b" " * (7 << 20)}, "vocab.json: more than 6,291,456 bytes"),
        (files(merges="a b\n" * 300_000), "merges.txt: more than 200,000 merges"),
        (files(merges="a " * 300_000), "'a a a"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as refused:
        Tokenizer.from_files(given)
    assert words in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) < 400
