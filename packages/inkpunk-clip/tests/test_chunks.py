"""Lines of weighted text to chunks of tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import EMPTY, Break, Chunk, LearnedWords, Span, Tokenizer, chunks, parse, timeline
from inkpunk_clip.tokenizer import END, ROOM, START

holds = settings(deadline=None, max_examples=100)

TOKENIZER = Tokenizer()
[COMMA] = TOKENIZER.encode(",")

spans = st.builds(
    Span, st.lists(st.sampled_from(["fox ", "owl ", ", ", "umbrella ", "8"]), max_size=60).map("".join),
    st.sampled_from([1.0, 1.1, 0.5]),
)  # fmt: skip
lines = st.lists(spans | st.just(Break()), max_size=6).map(tuple)


def texts(chunk: Chunk) -> list[int]:
    return [token for token, _ in chunk.text]


def encoded(line: tuple[Span | Break, ...]) -> list[tuple[int, float]]:
    """All tokens of a line, spans of one weight being one text."""
    return [pair for chunk in chunks(line, TOKENIZER, None, "commas") for pair in chunk.text]


@holds
@given(lines, st.sampled_from(["commas", "segments", "cut"]))
def test_a_chunk_is_77_tokens_between_start_and_end(line: tuple[Span | Break, ...], chunking: str) -> None:
    divided = chunks(line, TOKENIZER, None, chunking)
    assert divided
    for chunk in divided:
        assert len(chunk.tokens) == len(chunk.weights) == 77
        assert (chunk.tokens[0], chunk.tokens[-1]) == (START, END)
        count = len(chunk.text)
        assert set(chunk.tokens[1 + count :]) == {END} and set(chunk.weights[1 + count :]) == {1.0}
    assert len(divided) == 1 or chunking != "cut"


@holds
@given(lines)
def test_no_token_is_lost_or_moved(line: tuple[Span | Break, ...]) -> None:
    whole = [each for each in line if isinstance(each, Span)]
    by_segments = chunks(tuple(whole), TOKENIZER, None, "segments")
    expected = [(token, span.weight) for span in whole for token in TOKENIZER.encode(span.text)]
    assert [pair for chunk in by_segments for pair in chunk.text] == expected
    apart = tuple(Span(span.text + " ", span.weight + index / 1000) for index, span in enumerate(whole))
    by_commas = chunks(apart, TOKENIZER, None, "commas")
    expected = [(token, span.weight) for span in apart for token in TOKENIZER.encode(span.text)]
    assert [pair for chunk in by_commas for pair in chunk.text] == expected


@holds
@given(st.text(max_size=200))
def test_what_fits_into_one_chunk_is_what_the_tokenizer_gives(text: str) -> None:
    if TOKENIZER.count(text) <= ROOM:
        [chunk] = chunks((Span(text),), TOKENIZER)
        assert torch.equal(torch.tensor([chunk.tokens]), TOKENIZER(text))


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["fox"] * 76, 75),  # no comma: as many as there is room for
        (["fox"] * 60 + [","] + ["owl"] * 15, 61),  # 14 behind the comma go on
        (["fox"] * 55 + [","] + ["owl"] * 20, 56),  # the 19th behind it is the last that does
        (["fox"] * 54 + [","] + ["owl"] * 21, 75),  # 20 are too many
        (["fox"] * 74 + [","] + ["owl"], 75),
        (["fox"] * 75 + [",", "owl"], 75),  # the comma itself begins the next
        (["fox"] * 56 + [","] + ["owl"] * 5 + [","] + ["cat"] * 14, 63),  # the last comma counts
    ],
)
def test_a_chunk_ends_at_the_last_comma_within_20_tokens(words: list[str], first: int) -> None:
    divided = chunks((Span(" ".join(words)),), TOKENIZER)
    assert len(divided) == 2
    assert len(divided[0].text) == first
    assert [TOKENIZER.piece(token) for chunk in divided for token in texts(chunk)] == words


def reference(units: list[tuple[int, ...]]) -> list[list[int]]:
    """AUTOMATIC1111's rule in other words, on whole lists: find where each chunk ends, front to back."""
    whole, start = [], 0
    while start < len(units):
        end, length = start, 0
        while end < len(units) and length + len(units[end]) <= 75:
            length += len(units[end])
            end += 1
        if end < len(units) and length == 75 and units[end] != (COMMA,):
            commas = [place for place in range(start, end) if units[place] == (COMMA,)]
            if commas and sum(map(len, units[commas[-1] : end])) <= 20:
                end = commas[-1] + 1
        whole.append([token for unit in units[start:end] for token in unit])
        start = end
    return whole


@holds
@given(st.lists(st.sampled_from(["fox", "owl", ",", "learnt"]), max_size=300))
def test_chunks_are_those_of_the_reference(words: list[str]) -> None:
    learned = LearnedWords({"learnt": torch.zeros(3, 8)}, TOKENIZER)
    ids = {
        "fox": TOKENIZER.encode("fox"),
        "owl": TOKENIZER.encode("owl"),
        ",": [COMMA],
        "learnt": [49408, 49409, 49410],
    }
    divided = chunks((Span(" ".join(words)),), TOKENIZER, learned)
    assert [texts(chunk) for chunk in divided] == (reference([tuple(ids[word]) for word in words]) or [[]])


def test_a_break_ends_a_chunk() -> None:
    line = (Span("fox"), Break(), Span("owl", 1.2), Break())
    assert [[*chunk.text] for chunk in chunks(line, TOKENIZER)] == [
        [(TOKENIZER.encode("fox")[0], 1.0)],
        [(TOKENIZER.encode("owl")[0], 1.2)],
    ]
    assert chunks((Break(), Span("fox")), TOKENIZER)[0] == EMPTY
    assert chunks((), TOKENIZER) == chunks((Span(""),), TOKENIZER) == (EMPTY,)


def test_words_go_across_spans_of_one_weight_but_not_in_comfyui() -> None:
    line = (Span("fo"), Span("x"))
    assert texts(chunks(line, TOKENIZER)[0]) == TOKENIZER.encode("fox")
    assert texts(chunks(line, TOKENIZER, None, "segments")[0]) == TOKENIZER.encode("fo") + TOKENIZER.encode(
        "x"
    )


@pytest.mark.parametrize(("length", "first"), [(7, 70), (8, 75), (20, 75), (100, 75)])
def test_comfyui_moves_a_short_segment_and_divides_a_long_one(length: int, first: int) -> None:
    line = (Span("fox " * 70), Span("owl " * length, 1.2))
    divided = chunks(line, TOKENIZER, None, "segments")
    assert len(divided[0].text) == first
    assert sum(len(chunk.text) for chunk in divided) == 70 + length


def test_diffusers_cuts_after_75_tokens() -> None:
    [chunk] = chunks((Span("fox " * 80),), TOKENIZER, None, "cut")
    assert texts(chunk) == TOKENIZER.encode("fox") * 75


def test_a_learned_word_is_never_divided() -> None:
    words = LearnedWords({"easy": torch.zeros(6, 8)}, TOKENIZER)
    first, second = chunks((Span("fox " * 72 + "easy"),), TOKENIZER, words)
    assert len(first.text) == 72
    assert texts(second) == [*range(49408, 49414)]


def test_a_way_of_chunking_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="chunks 'lines': there is no such way; use commas, segments, cut"):
        chunks((), TOKENIZER, None, "lines")


def test_weights_reach_their_tokens() -> None:
    [(_, line)] = timeline(parse("a (red fox:1.3), [owl]").parts[0].content, 1)
    [chunk] = chunks(line, TOKENIZER)
    told = [(TOKENIZER.piece(token), weight) for token, weight in chunk.text]
    assert told == [("a", 1.0), ("red", 1.3), ("fox", 1.3), (",", 1.0), ("owl", 1 / 1.1)]
