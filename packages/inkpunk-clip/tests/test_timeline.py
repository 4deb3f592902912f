"""What a prompt says at each step."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import Span, line_at, parse, timeline

holds = settings(deadline=None, max_examples=100)


def said(text: str, steps: int = 10, late: int = 0) -> list[tuple[int, str]]:
    """By first step: the words, weights aside."""
    [part] = parse(text).parts
    return [
        (step, "".join(each.text for each in line if isinstance(each, Span)))
        for step, line in timeline(part.content, steps, late)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fox", [(0, "fox")]),
        ("[fox:owl:0.4]", [(0, "fox"), (4, "owl")]),
        ("[fox:owl:3]", [(0, "fox"), (3, "owl")]),
        ("[owl:3]", [(0, ""), (3, "owl")]),
        ("[fox::3]", [(0, "fox"), (3, "")]),
        ("[fox:owl:0]", [(0, "owl")]),
        ("[fox:owl:0.0]", [(0, "owl")]),
        ("[fox:owl:-2]", [(0, "owl")]),
        ("[fox:owl:1]", [(0, "fox"), (1, "owl")]),
        ("[fox:owl:1.0]", [(0, "fox")]),  # a share: all of them
        ("[fox:owl:99]", [(0, "fox")]),
        ("[fox:owl:0.39]", [(0, "fox"), (3, "owl")]),
        ("[fox:fox:3]", [(0, "fox")]),  # nothing changes
        ("[a:[b:c:6]:3]", [(0, "a"), (3, "b"), (6, "c")]),
        ("([a:b:3]:1.2) [c:d:5]", [(0, "a c"), (3, "b c"), (5, "b d")]),
    ],
)
def test_a_switch_comes_after_so_many_steps(text: str, says: list[tuple[int, str]]) -> None:
    assert said(text) == says


def test_alternatives_take_turns() -> None:
    assert said("[fox|owl|]", 7) == [*enumerate(["fox", "owl", "", "fox", "owl", "", "fox"])]
    assert said("[[a|b]:c:2]", 4) == [(0, "a"), (1, "b"), (2, "c")]


def test_as_automatic1111_counts_the_first_text_has_one_step_more() -> None:
    assert said("[fox:owl:3]", late=1) == [(0, "fox"), (4, "owl")]
    assert said("[fox:owl:0]", late=1) == [(0, "owl")]
    assert said("[fox|owl]", 5, late=1) == [(0, "fox"), (2, "owl"), (3, "fox"), (4, "owl")]
    assert said("[fox:owl:0.9]", late=1) == [(0, "fox")]


def test_weights_multiply() -> None:
    [part] = parse("a ((b:1.5) [c]:2)").parts
    weights = [(each.text, each.weight) for each in line_at(part.content, 0, 1) if isinstance(each, Span)]
    assert weights == [("a ", 1.0), ("b", 3.0), (" ", 2.0), ("c", 2 / 1.1)]


pieces = st.sampled_from([*"()[]:| ", "a", "b", "c", "0.5", "3", "7"])


@holds
@given(st.lists(pieces, max_size=30).map("".join), st.integers(1, 12), st.integers(0, 1))
def test_a_timeline_is_what_each_step_says(text: str, steps: int, late: int) -> None:
    for part in parse(text).parts:
        moments = timeline(part.content, steps, late)
        assert [step for step, _ in moments] == sorted({step for step, _ in moments})
        for step in range(steps):
            line = [line for begin, line in moments if begin <= step][-1]
            assert line == line_at(part.content, step, steps, late)


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="0 steps"):
        timeline((), 0)
