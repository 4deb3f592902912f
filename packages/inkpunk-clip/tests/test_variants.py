"""Alternatives that a seed chooses among."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import VariantError, choose, parse

holds = settings(deadline=None, max_examples=150)
LISTS = {
    "colour": ("red", "{pale|deep} blue"),
    "animals/bird": ("raven",),
    "loop": ("__loop__ again",),
    "none": (),
}
pieces = st.sampled_from(
    [*r"{}|\$_:- ", "a", "b", "2$$", "1-2$$", "0.5::", "__colour__", "__", "word", "(x:1.2)"]
)
texts = st.lists(pieces, max_size=25).map("".join) | st.text(max_size=30)


def chosen(text: str, count: int = 400) -> Counter[str]:
    return Counter(choose(text, Random(seed), LISTS) for seed in range(count))


@pytest.mark.parametrize(
    ("text", "can_be"),
    [
        ("{red|green} fox", {"red fox", "green fox"}),
        ("{|very }old", {"old", "very old"}),
        ("{{a|b}|{c|d}}", {*"abcd"}),
        ("{fox}", {"fox"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{1-2$$ and $$a|b}", {"a", "b", "a and b", "b and a"}),
        ("{5$$a|b}", {"a, b", "b, a"}),
        ("{0$$a|b}", {""}),
        ("__colour__ fox", {"red fox", "pale blue fox", "deep blue fox"}),
        ("__animals/bird__", {"raven"}),
        (r"{a\|b|c}", {r"a\|b", "c"}),
        ("{(a:1.3)|[b:c:3]} d", {"(a:1.3) d", "[b:c:3] d"}),
    ],
)
def test_each_of_the_variants_comes_and_no_other(text: str, can_be: set[str]) -> None:
    assert {*chosen(text)} == can_be


@pytest.mark.parametrize("text", ["fox", "{fox", "fox}", "a|b", r"\{a|b\}", "", "__", "__init", "5 {", "\\"])
def test_what_is_no_variant_is_text_as_it_was(text: str) -> None:
    assert choose(text, Random(0), LISTS) == text


def test_without_lists_their_names_are_text() -> None:
    assert choose("__colour__ fox", Random(0)) == "__colour__ fox"


def test_a_weight_says_how_often() -> None:
    counts = chosen("{3::red|1::blue|green}", 2000)
    # of 2,000 draws the count of one in five has a standard deviation of 18
    assert (
        abs(counts["red"] - 1200) < 110 and abs(counts["blue"] - 400) < 90 and abs(counts["green"] - 400) < 90
    )


def test_a_seed_chooses_the_same_in_every_version_of_python() -> None:
    text = "{red|green|blue} {2$$fox|owl|cat} __colour__"
    assert [choose(text, Random(seed), LISTS) for seed in (0, 1, 2)] == [
        "blue cat, fox red",
        "red cat, owl red",
        "blue cat, fox red",
    ]


@holds
@given(texts, st.integers(0, 2**63))
def test_nothing_is_left_to_choose(text: str, seed: int) -> None:
    once = choose(text, Random(seed))
    assert choose(once, Random(seed + 1)) == once
    parse(once)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__planet__", "__planet__: there is no such list; there are animals/bird, colour"),
        ("__none__", "__none__: the list is empty"),
        ("__loop__", "does a list name itself?"),
        ("{1$$" + "__colour__ " * 1500 + "}", "more than 1,000 choices"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(VariantError, match=words):
        choose(text, Random(0), LISTS)


def test_a_text_that_would_grow_without_bound_is_refused() -> None:
    lists = {str(level): (f"__{level + 1}__ " * 10,) for level in range(9)} | {"9": ("a" * 100,)}
    with pytest.raises(VariantError, match="more than 100,000 characters"):
        choose("__0__", Random(0), lists)


@pytest.mark.parametrize("text", ["{" * 5_000, "{a|" * 5_000, "}" * 5_000, "{" * 5_000 + "a" + "}" * 5_000,
                                  "__a " * 5_000, "_" * 10_000])  # fmt: skip
def test_braces_by_the_thousand_neither_crash_nor_take_long(text: str) -> None:
    choose(text, Random(0), LISTS)
