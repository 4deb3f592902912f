r"""The grammar of prompts, as AUTOMATIC1111 made it and people paste it. What is not grammar is text.

    prompt      = part { "AND" part }
    part        = content [ ":" number ]                            the weight, where there are several parts
    content     = { text | "BREAK" | emphasis | switch | alternation }
    emphasis    = "(" content [ ":" number ] ")" | "[" content "]"  times the number, 1.1, or 1 / 1.1
    switch      = "[" [ content ":" ] content ":" number "]"        a number with a point is a share of the steps
    alternation = "[" content { "|" content } "]"

A backslash takes the next character as text. A bracket without its other half is text, as is one inside 64 others.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, pairwise
from typing import TypeAlias

from inkpunk_clip.prompts.tree import (
    LOWERED,
    RAISED,
    Alternation,
    Break,
    Content,
    Emphasis,
    Node,
    Part,
    Prompt,
    Switch,
    Text,
)

DEEPEST = 64
"""Brackets within one another; 1.1 to the power of 64 is a weight of 446."""

_LEXEME = re.compile(r"\\(?P<escaped>.)|(?P<mark>[()\[\]:|])|(?P<text>[^\\()\[\]:|]+|\\)", re.DOTALL)
_KEYWORD = re.compile(r"\b(AND|BREAK)\b")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}))\s*")
_ENDS_IN_NUMBER = re.compile(rf"(.*):{_NUMBER.pattern}", re.DOTALL)
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True)
class _Mark:
    """A colon, bar or keyword: grammar or text, as what is around it decides."""

    text: str


@dataclass(frozen=True)
class _Plain:
    """Text without a backslash, which may be a number."""

    text: str


_Item: TypeAlias = Node | _Mark | _Plain


@dataclass
class _Open:
    """A bracket that is open, and what has come since; the outermost is the prompt itself."""

    bracket: str = ""
    items: list[_Item] = field(default_factory=list[_Item])


def parse(text: str, grammar: str = "inkpunk", *, composed: bool = True) -> Prompt:
    """Parse any text; none is refused.

    Args:
        text: the prompt.
        grammar: a name in `GRAMMARS`.
        composed: whether `AND` composes; in negative prompts it is text.

    Raises:
        ValueError: if there is no such grammar.
    """
    if grammar not in GRAMMARS:
        raise ValueError(f"grammar {grammar!r}: there is none of that name; use {', '.join(GRAMMARS)}")
    return GRAMMARS[grammar](text, composed)


def _parse_bracketed(text: str, composed: bool, like_a1111: bool = False) -> Prompt:
    stack = [_Open()]
    for item in _lexemes(text):
        mark = item.text if isinstance(item, _Mark) else ""
        if mark in ("(", "[") and len(stack) <= DEEPEST:
            stack.append(_Open(mark))
        elif any(each.bracket == _CLOSES.get(mark) for each in stack):
            while stack[-1].bracket != _CLOSES[mark]:  # never closed, so they are text
                _join(stack)
            closed = stack.pop()
            stack[-1].items.append(_round(closed.items) if mark == ")" else _square(closed.items))
        else:
            stack[-1].items.append(item)
    while len(stack) > 1:
        if like_a1111:
            left = stack.pop()
            weight = RAISED if left.bracket == "(" else LOWERED
            stack[-1].items.append(Emphasis(_content(left.items), weight))
        else:
            _join(stack)
    items = stack[0].items
    if not composed:
        return Prompt((Part(_content(items)),))
    parts = _split(items, "AND")
    return Prompt(tuple(_part(part, weighted=like_a1111 or len(parts) > 1) for part in parts))


def _join(stack: list[_Open]) -> None:
    left = stack.pop()
    stack[-1].items += [_Plain(left.bracket), *left.items]


def _lexemes(text: str) -> Iterator[_Item]:
    for found in _LEXEME.finditer(text):
        if found["escaped"] is not None:
            yield Text(found["escaped"])
        elif found["mark"]:
            yield _Mark(found["mark"])
        else:
            for index, piece in enumerate(_KEYWORD.split(found["text"])):
                if piece == "BREAK" and index % 2:
                    yield Break()
                elif index % 2:
                    yield _Mark(piece)
                elif piece:
                    yield _Plain(piece)


def _part(items: list[_Item], *, weighted: bool) -> Part:
    before, number = _numbered(items)
    if not weighted or number is None:
        return Part(_stripped(_content(items)))
    return Part(_stripped(_content(before)), float(number))


def _round(items: list[_Item]) -> Node:
    content, number = _numbered(items)
    return Emphasis(_content(content), RAISED if number is None else float(number))


def _square(items: list[_Item]) -> Node:
    marks = [item.text for item in items if isinstance(item, _Mark)]
    content, number = _numbered(items)
    if "|" in marks and ":" not in marks:
        return Alternation(tuple(_content(choice) for choice in _split(items, "|")))
    if number is not None and marks.count(":") <= 2 and "|" not in marks:
        *before, after = _split(content, ":")
        when = float(number) if "." in number else int(number)
        return Switch(_content(before[0]) if before else (), _content(after), when)
    return Emphasis(_content(items), LOWERED)


def _numbered(items: list[_Item]) -> tuple[list[_Item], str | None]:
    """Items without the colon and the number that they end in, and that number."""
    match items:
        case [*before, _Mark(":"), _Plain(text)] if found := _NUMBER.fullmatch(text):
            return before, found[1]
        case _:
            return items, None


def _split(items: list[_Item], mark: str) -> list[list[_Item]]:
    places = [index for index, item in enumerate(items) if item == _Mark(mark)]
    return [items[start + 1 : end] for start, end in pairwise([-1, *places, len(items)])]


def _content(items: list[_Item]) -> Content:
    """Items as nodes: idle marks are text, texts side by side one, and breaks have no blanks around."""
    nodes = list[Node]()
    for is_text, run in groupby(items, key=lambda item: isinstance(item, _Mark | _Plain | Text)):
        if is_text:
            nodes.append(Text("".join(item.text for item in run if isinstance(item, _Mark | _Plain | Text))))
        else:
            nodes += [item for item in run if not isinstance(item, _Mark | _Plain)]
    for index, node in enumerate(nodes):
        if isinstance(node, Text):
            text = node.text.lstrip() if nodes[index - 1 : index] == [Break()] else node.text
            nodes[index] = Text(text.rstrip() if nodes[index + 1 : index + 2] == [Break()] else text)
    return tuple(node for node in nodes if node != Text(""))


def _stripped(content: Content) -> Content:
    """Without the blanks around a part, which are there for `AND`."""
    nodes = list(content)
    if nodes and isinstance(nodes[0], Text):
        nodes[0] = Text(nodes[0].text.lstrip())
    if nodes and isinstance(nodes[-1], Text):
        nodes[-1] = Text(nodes[-1].text.rstrip())
    return tuple(node for node in nodes if node != Text(""))


def _parse_comfyui(text: str, composed: bool) -> Prompt:
    r"""Round brackets alone: `(word)` times 1.1, `(word:1.3)` of weight 1.3 whatever is around it.

    A backslash takes as text what is one of ( ) { }, and stays before anything else.
    """
    lexemes = re.findall(r"\\[(){}]|[()]|\\|[^\\()]+", text)
    closed_at = _matching_brackets(lexemes)
    closing, without_number = {*closed_at.values()}, dict[int, str]()
    runs, weights = [(list[str](), 1.0)], [1.0]
    for index, lexeme in enumerate(lexemes):
        if index in closed_at:
            last = closed_at[index] - 1
            found = _ENDS_IN_NUMBER.fullmatch(lexemes[last])
            if found and (found[1] or last > index + 1):
                without_number[last] = found[1]
                weights.append(float(found[2]))
            else:
                weights.append(weights[-1] * RAISED)
            runs.append(([], weights[-1]))
        elif index in closing:
            weights.pop()
            runs.append(([], weights[-1]))
        else:
            runs[-1][0].append(without_number.get(index, re.sub(r"\\([(){}])", r"\1", lexeme)))
    texts = [(Text("".join(words)), weight) for words, weight in runs if any(words)]
    nodes = tuple(text if weight == 1 else Emphasis((text,), weight) for text, weight in texts)
    return Prompt((Part(nodes),))


def _matching_brackets(lexemes: list[str]) -> dict[int, int]:
    """Where each bracket is closed; those that have no other half are left out."""
    open_at, closed_at = list[int](), dict[int, int]()
    for index, lexeme in enumerate(lexemes):
        if lexeme == "(":
            open_at.append(index)
        elif lexeme == ")" and open_at:
            closed_at[open_at.pop()] = index
    return closed_at


def _parse_plain(text: str, composed: bool) -> Prompt:
    return Prompt((Part((Text(text),) if text else ()),))


GRAMMARS: Mapping[str, Callable[[str, bool], Prompt]] = {
    "inkpunk": _parse_bracketed,
    "a1111": partial(_parse_bracketed, like_a1111=True),
    "comfyui": _parse_comfyui,
    "plain": _parse_plain,
}
"""By name: the one above; AUTOMATIC1111's, where a bracket that stays open reaches to the end, and a single prompt
may have a weight, too; ComfyUI's, of round brackets alone; and none, where every character is text."""
