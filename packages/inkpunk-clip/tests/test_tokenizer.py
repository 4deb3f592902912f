import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inkpunk_clip import Tokenizer, vocabulary_files
from inkpunk_clip import tokenizer as tokenizers
from inkpunk_clip.tokenizer import END, POSITIONS, ROOM, START
from jaxtyping import config as jaxtyping_config

holds = settings(deadline=None, max_examples=60)

TOKENIZER = Tokenizer()

# Everything a prompt may hold: hypothesis leaves out the lone surrogates, which no UTF-8 can hold.
unicode_texts = st.text(st.characters(codec="utf-8"))
# Words that come apart in the same way whatever stands around them.
words = st.text("abcdefghijklmnopqrstuvwxyzäßéπжשの0123456789,.!&", min_size=1, max_size=8)
sentences = st.lists(words, max_size=12).map(" ".join)
long_sentences = st.lists(words, min_size=60, max_size=120).map(" ".join)


def test_the_vocabulary_has_49408_entries_and_closes_with_the_special_tokens():
    pieces = TOKENIZER._byte_pairs.get_vocab(with_added_tokens=True)
    assert sorted(pieces.values()) == list(range(49_408))
    assert pieces["!"] == 0
    assert pieces["!</w>"] == 256
    assert pieces["in"] == 512  # the first merge
    assert pieces["jekyll</w>"] == 49_405  # the last
    assert pieces["<|startoftext|>"] == START == 49_406
    assert pieces["<|endoftext|>"] == END == 49_407


# Each of these was checked once against transformers' CLIPTokenizer.
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        (
            "nvinkpunk cyberpunk samurai with neon mask, glowing swords",
            [77, 1379, 74, 7246, 36896, 21739, 593, 13919, 8306, 267, 18437, 27181],
        ),
        ("a <|endoftext|> b", [320, END, 321]),
        ("<|startoftext|>x", [START, 343]),
        ("A<|ENDOFTEXT|>b", [320, 27, 347, 40786, 4160, 91, 285, 321]),
        ("  'S it's DON'T", [568, 585, 568, 847, 713]),
    ],
)
def test_known_texts_have_the_ids_that_clip_gives_them(text: str, ids: list[int]):
    row = [START, *ids, *[END] * (POSITIONS - 1 - len(ids))]
    assert TOKENIZER(text).tolist() == [row]


@holds
@given(st.lists(unicode_texts, max_size=4))
def test_every_text_becomes_a_row_of_77_ids_from_start_to_padding(texts: list[str]):
    tokens = TOKENIZER(texts)
    assert tokens.shape == (len(texts), POSITIONS)
    assert tokens.dtype == torch.int64
    for row, text in zip(tokens.tolist(), texts, strict=True):
        kept = min(TOKENIZER.count(text), ROOM)
        assert row[0] == START
        assert all(0 <= token <= END for token in row)
        assert all(token == END for token in row[1 + kept :])
        assert END not in row[1 : 1 + kept] or "<|endoftext|>" in text


@holds
@given(st.lists(unicode_texts, min_size=1, max_size=4), st.randoms())
def test_a_text_has_the_same_ids_in_any_company(texts: list[str], random):
    alone = {text: TOKENIZER(text)[0].tolist() for text in texts}
    random.shuffle(texts)
    assert TOKENIZER(texts).tolist() == [alone[text] for text in texts]
    assert TOKENIZER(tuple(texts)).tolist() == [alone[text] for text in texts]


def test_tokens_are_on_the_cpu_whatever_torchs_default_device_is():
    with torch.device("meta"):
        tokens = TOKENIZER(["ink", ""])
    assert tokens.tolist() == TOKENIZER(["ink", ""]).tolist()


@holds
@given(sentences)
def test_case_does_not_matter(text: str):
    # Characters whose upper case is longer, such as ß, do not come back from it.
    upper = "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in text)
    assert torch.equal(TOKENIZER(upper), TOKENIZER(text))


@holds
@given(st.lists(words, max_size=12), st.data())
def test_only_where_white_space_is_matters_not_which_or_how_much(parts: list[str], data):
    space = st.text(" \t\n\r\f\v\u00a0\u2003\u3000", min_size=1, max_size=3)
    margin = st.text(" \t\n", max_size=3)
    text = data.draw(margin)
    for part in parts:
        text += part + data.draw(space)
    assert torch.equal(TOKENIZER(text), TOKENIZER(" ".join(parts)))


def test_composed_and_decomposed_letters_are_the_same():
    assert torch.equal(TOKENIZER("cafe\u0301 \u1112\u1161\u11ab"), TOKENIZER("café 한"))


@holds
@given(words, words)
def test_a_word_has_the_same_ids_in_every_sentence(left: str, right: str):
    counts = TOKENIZER.count(left), TOKENIZER.count(right)
    ids = TOKENIZER(f"{left} {right}")[0, 1:]
    assert torch.equal(ids[: counts[0]], TOKENIZER(left)[0, 1:][: counts[0]])
    assert torch.equal(ids[counts[0] : sum(counts)], TOKENIZER(right)[0, 1:][: counts[1]])
    assert TOKENIZER.count(f"{left} {right}") == sum(counts)


@holds
@given(unicode_texts, st.integers(1, 60))
def test_what_is_cut_is_the_end_of_the_text_and_only_of_one_that_does_not_fit(text: str, times: int):
    text *= times
    cut = TOKENIZER.cut(text)
    assert text.endswith(cut)
    assert (cut != "") == (TOKENIZER.count(text) > ROOM)


@holds
@given(long_sentences)
def test_the_text_before_the_cut_is_kept_to_the_last_token(text: str):
    cut = TOKENIZER.cut(text)
    kept = text.removesuffix(cut)
    count = TOKENIZER.count(kept)
    assert count <= ROOM
    assert TOKENIZER(kept)[0, 1 : 1 + count].tolist() == TOKENIZER(text)[0, 1 : 1 + count].tolist()
    assert count + TOKENIZER.count(cut) == TOKENIZER.count(text)


def test_the_cut_begins_with_a_whole_word_as_it_was_written():
    text = "ink, " * 37 + "CyberpunkSamurai  With  Neon Mask"
    assert TOKENIZER.count("ink, " * 37) == 74
    assert TOKENIZER.count("CyberpunkSamurai") == 3  # the first of these fits
    assert TOKENIZER.cut(text) == "CyberpunkSamurai  With  Neon Mask"


@pytest.mark.parametrize("letter", ["x", "漢", "👩🏽‍🚀"])
def test_a_word_too_long_by_itself_is_divided_where_it_ceases_to_fit(letter: str):
    text = letter * 1000
    cut = TOKENIZER.cut(text)
    assert text.endswith(cut)
    assert 0 < len(cut) < len(text)


def test_a_very_long_text_is_truncated_like_any_other():
    tokens = TOKENIZER("ink " * 100_000)[0].tolist()
    assert tokens == [START, *TOKENIZER("ink")[0, 1:2].tolist() * ROOM, END]


def test_exactly_75_tokens_fit():
    assert TOKENIZER.cut("ink " * 75) == ""
    assert TOKENIZER.cut("ink " * 75 + "punk") == "punk"


@holds
@given(sentences)
def test_decoding_gives_the_text_back_but_for_spaces_and_case(text: str):
    kept = text.removesuffix(TOKENIZER.cut(text))
    decoded = TOKENIZER.decode(TOKENIZER(kept)[0])
    assert decoded.replace(" ", "") == kept.replace(" ", "")


@holds
@given(unicode_texts)
def test_decoded_tokens_have_the_same_ids_again(text: str):
    assume(TOKENIZER.count(text) <= ROOM)  # beyond, half a character may have been cut
    assume("<|" not in text)  # special tokens are not decoded
    tokens = TOKENIZER(text)
    assert torch.equal(TOKENIZER(TOKENIZER.decode(tokens[0])), tokens)


@holds
@given(st.text(max_size=10), st.characters(categories=["Cs"]), st.text(max_size=10))
def test_a_lone_surrogate_is_refused_by_name_and_place(before: str, surrogate: str, after: str):
    place = f"character {len(before)} of this one is the lone surrogate U\\+{ord(surrogate):04X}"
    for refuse in (TOKENIZER, TOKENIZER.count, TOKENIZER.cut):
        with pytest.raises(ValueError, match=place) as refusal:
            refuse(before + surrogate + after)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("stranger", [b"ink", 7, None, ["ink"]])
def test_what_is_not_text_is_refused_by_its_type(stranger: object):
    # Without the tests' own type checks, which would refuse it first.
    jaxtyping_config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(TypeError, match=rf"must be a string \(str\), not {type(stranger).__name__}"):
            TOKENIZER([stranger])  # type: ignore[list-item]
    finally:
        jaxtyping_config.update("jaxtyping_disable", False)


def test_the_vocabulary_files_hold_every_entry_and_every_merge() -> None:
    files = vocabulary_files()
    vocabulary = json.loads(files["vocab.json"])
    assert sorted(vocabulary.values()) == list(range(49_408))
    first, *merges = files["merges.txt"].decode().splitlines()
    assert first.startswith("#version")
    assert len(merges) == 48_894
    assert all(vocabulary["".join(merge.split())] == 512 + rank for rank, merge in enumerate(merges))


def test_threads_that_come_first_together_read_the_vocabulary_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, readings, together = tokenizers._merges, list[int](), Barrier(4)

    def counted() -> list[tuple[str, str]]:
        readings.append(1)
        return read()

    def first(_: int) -> Tokenizer:
        together.wait()
        return Tokenizer()

    monkeypatch.setattr(tokenizers, "_merges", counted)
    tokenizers._shipped.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(first, range(4)))
    assert len(readings) == 1
    assert all(each("a raven").equal(made[0]("a raven")) for each in made)
