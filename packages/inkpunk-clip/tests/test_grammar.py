"""Prompts to trees and back: what is grammar, and that all else is text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inkpunk_clip import (
    GRAMMARS,
    Alternation,
    Break,
    Emphasis,
    Part,
    Prompt,
    Switch,
    Text,
    parse,
)

holds = settings(deadline=None, max_examples=150)

#: Texts made of what the grammar is made of, so that most of them hold some of it.
pieces = st.sampled_from(
    [
        *r"()[]:|\{} ,",
        "a",
        "red fox",
        "AND",
        "BREAK",
        "1.3",
        ":0.8",
        "5",
        "0.",
        ".5",
        "-1",
        "9" * 400,
        "(",
        ")",
    ]
)
texts = st.lists(pieces, max_size=25).map("".join) | st.text(max_size=30)


def one(*content: object) -> Prompt:
    return Prompt((Part(content),))


#: What each means, in the grammar "inkpunk".
MEANS = {
    "": one(),
    "a red fox": one(Text("a red fox")),
    "(fox)": one(Emphasis((Text("fox"),), 1.1)),
    "((fox))": one(Emphasis((Emphasis((Text("fox"),), 1.1),), 1.1)),
    "[fox]": one(Emphasis((Text("fox"),), 1 / 1.1)),
    "(fox:1.3)": one(Emphasis((Text("fox"),), 1.3)),
    "( fox : 1.3 )": one(Emphasis((Text(" fox "),), 1.3)),
    "(fox:-.5)": one(Emphasis((Text("fox"),), -0.5)),
    "(a:b:1.3)": one(Emphasis((Text("a:b"),), 1.3)),
    "(a|b)": one(Emphasis((Text("a|b"),), 1.1)),
    r"\(fox\)": one(Text("(fox)")),
    r"fox\\": one(Text("fox\\")),
    r"\o/": one(Text("o/")),
    "fox\\": one(Text("fox\\")),
    "(fox": one(Text("(fox")),
    "fox)": one(Text("fox)")),
    ":) (:": one(Text(":) (:")),
    "([fox)": one(Emphasis((Text("[fox"),), 1.1)),
    "(fox:1.2.3)": one(Emphasis((Text("fox:1.2.3"),), 1.1)),
    "(fox:1e3)": one(Emphasis((Text("fox:1e3"),), 1.1)),
    "(fox:)": one(Emphasis((Text("fox:"),), 1.1)),
    r"(fox\:2)": one(Emphasis((Text("fox:2"),), 1.1)),
    "a BREAK b": one(Text("a"), Break(), Text("b")),
    "(a BREAK b:2)": one(Emphasis((Text("a"), Break(), Text("b")), 2.0)),
    "BREAKFAST": one(Text("BREAKFAST")),
    r"\BREAK": one(Text("BREAK")),
    "[fox:owl:0.4]": one(Switch((Text("fox"),), (Text("owl"),), 0.4)),
    "[fox:owl:8]": one(Switch((Text("fox"),), (Text("owl"),), 8)),
    "[fox:owl:1.0]": one(Switch((Text("fox"),), (Text("owl"),), 1.0)),
    "[owl:8]": one(Switch((), (Text("owl"),), 8)),
    "[fox::8]": one(Switch((Text("fox"),), (), 8)),
    "[:: 8 ]": one(Switch((), (), 8)),
    "[a:b]": one(Emphasis((Text("a:b"),), 1 / 1.1)),
    "[a:b:c:8]": one(Emphasis((Text("a:b:c:8"),), 1 / 1.1)),
    "[a|b:8]": one(Emphasis((Text("a|b:8"),), 1 / 1.1)),
    "[fox|owl]": one(Alternation(((Text("fox"),), (Text("owl"),)))),
    "[fox||(owl:2)]": one(Alternation(((Text("fox"),), (), (Emphasis((Text("owl"),), 2.0),)))),
    "[[fox|owl]:cat:.5]": one(Switch((Alternation(((Text("fox"),), (Text("owl"),))),), (Text("cat"),), 0.5)),
    "fox AND owl": Prompt((Part((Text("fox"),)), Part((Text("owl"),)))),
    "fox :0.5 AND owl : -2": Prompt((Part((Text("fox"),), 0.5), Part((Text("owl"),), -2.0))),
    "fox AND": Prompt((Part((Text("fox"),)), Part(()))),
    "(fox AND owl)": one(Emphasis((Text("fox AND owl"),), 1.1)),
    "SAND ANDES": one(Text("SAND ANDES")),
    "16:9": one(Text("16:9")),
}


@pytest.mark.parametrize("text", MEANS)
def test_a_prompt_means(text: str) -> None:
    assert parse(text) == MEANS[text]


@holds
@given(texts)
@example("((a:1.3) AND 16:9 :2")
@example(r"a:5 AND \AND BREAK[BREAK|BREAK:1:2]")
@example("(a:0.00000000000000000001)")
def test_writing_a_parsed_prompt_and_parsing_it_again_changes_nothing(text: str) -> None:
    prompt = parse(text)
    assert parse(str(prompt)) == prompt


@holds
@given(texts, st.sampled_from([*GRAMMARS]), st.booleans())
def test_any_text_parses(text: str, grammar: str, composed: bool) -> None:
    prompt = parse(text, grammar, composed=composed)
    assert composed or len(prompt.parts) == 1
    hash(prompt)


def words_in(node: object) -> str:
    match node:
        case Text(text):
            return text
        case Emphasis(content, _):
            return "".join(map(words_in, content))
        case _:
            return ""


@holds
@given(
    st.text(st.characters(exclude_characters=r"()[]\:|"), max_size=40).filter(
        lambda text: "BREAK" not in text
    )
)
def test_text_without_grammar_comes_through_whole(text: str) -> None:
    [part] = parse(text, composed=False).parts
    assert "".join(map(words_in, part.content)) == text


@pytest.mark.parametrize(
    "text",
    ["(" * 10_000, ")" * 10_000, "(" * 5_000 + "a" + ")" * 5_000, "[a:" * 3_000, "([" * 3_000 + "])" * 3_000,
     " " * 10_000 + "BREAK", "[" + "|" * 10_000 + "]", "\\" * 10_001, "AND " * 3_000, "(a" * 3_000 + ":1)"],
    ids=lambda text: text[:6],
)  # fmt: skip
@pytest.mark.parametrize("grammar", GRAMMARS)
def test_brackets_by_the_ten_thousand_neither_crash_nor_take_long(text: str, grammar: str) -> None:
    str(parse(text, grammar))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("(fox", one(Emphasis((Text("fox"),), 1.1))),
        ("[fox (owl:2)", one(Emphasis((Text("fox "), Emphasis((Text("owl"),), 2.0)), 1 / 1.1))),
        ("fox :0.5", Prompt((Part((Text("fox"),), 0.5),))),
        ("fox)", one(Text("fox)"))),
    ],
)  # fmt: skip
def test_in_automatic1111_an_open_bracket_reaches_to_the_end_and_one_prompt_may_have_a_weight(
    text: str, means: Prompt
) -> None:
    assert parse(text, "a1111") == means


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a (fox) b", one(Text("a "), Emphasis((Text("fox"),), 1.1), Text(" b"))),
        ("(a (fox:1.2):1.3)", one(Emphasis((Text("a "),), 1.3), Emphasis((Text("fox"),), 1.2))),
        ("((fox) owl:0.5)", one(Emphasis((Text("fox"),), 0.5 * 1.1), Emphasis((Text(" owl"),), 0.5))),
        ("[fox] AND owl BREAK", one(Text("[fox] AND owl BREAK"))),
        (r"\(fox\) \o/ \{", one(Text(r"(fox) \o/ {"))),
        ("(:1.2)", one(Emphasis((Text(":1.2"),), 1.1))),
        ("(fox", one(Text("(fox"))),
    ],
)  # fmt: skip
def test_comfyui_knows_round_brackets_alone(text: str, means: Prompt) -> None:
    assert parse(text, "comfyui") == means


def test_a_plain_prompt_is_text_to_the_last_character() -> None:
    text = r"(fox:1.3) [a:b:4] \( BREAK AND"
    assert parse(text, "plain") == one(Text(text))


def test_and_in_a_negative_prompt_is_text() -> None:
    assert parse("fox AND owl", composed=False) == one(Text("fox AND owl"))


def test_a_grammar_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="grammar 'klingon': there is none of that name; use inkpunk, a1111"):
        parse("fox", "klingon")
