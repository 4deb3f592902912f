"""What a prompt is parsed into, and how that is written again."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

RAISED, LOWERED = 1.1, 1 / 1.1
"""What round and square brackets without a number multiply a weight by."""


@dataclass(frozen=True)
class Text:
    """Words as they go to the tokenizer."""

    text: str


@dataclass(frozen=True)
class Break:
    """`BREAK`: what follows begins a new chunk."""


@dataclass(frozen=True)
class Emphasis:
    """`(word:1.3)`, `(word)` or `[word]`: a weight, multiplied with those around it."""

    content: "Content"
    weight: float


@dataclass(frozen=True)
class Switch:
    """`[before:after:when]`: one text up to some step, another from there on.

    `when` is the number of steps that have the text before, or, a float, their share of all steps.
    """

    before: "Content"
    after: "Content"
    when: int | float


@dataclass(frozen=True)
class Alternation:
    """`[a|b|c]`: a text a step, in turn."""

    choices: tuple["Content", ...]


Node: TypeAlias = Text | Break | Emphasis | Switch | Alternation
Content: TypeAlias = tuple[Node, ...]


@dataclass(frozen=True)
class Part:
    """One of the prompts that `AND` composes, and how much of its guidance is taken."""

    content: Content
    weight: float = 1.0


@dataclass(frozen=True)
class Prompt:
    """A parsed prompt: one part, or several joined by `AND` (Liu et al. 2022, arXiv 2206.01714)."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """The prompt in the grammar "inkpunk", which parses into this very prompt again.

        Of prompts that were parsed, that is: by hand one can make what no text means, such as two texts side by side.
        """
        parts = [_part(part, one_of_many=len(self.parts) > 1) for part in self.parts]
        return " AND ".join(parts)


def _part(part: Part, *, one_of_many: bool) -> str:
    written = _content(part.content, at_top=True)
    if part.weight != 1 or (one_of_many and re.search(r":\s*[+-]?[0-9.]+\s*$", written)):
        # the last words may look like a weight
        written += f" :{_number(part.weight)}"
    return written


def _content(content: Content, *, at_top: bool = False) -> str:
    return "".join(_node(node, at_top=at_top) for node in content)


def _node(node: Node, *, at_top: bool) -> str:
    match node:
        case Text(text):
            return _escaped(text, at_top=at_top)
        case Break():
            return " BREAK "
        case Emphasis(content, weight) if weight == RAISED:
            return f"({_content(content)})"
        case Emphasis(content, weight) if weight == LOWERED:
            return f"[{_content(content)}]"
        case Emphasis(content, weight):
            return f"({_content(content)}:{_number(weight)})"
        case Switch(before, after, when):
            return f"[{_content(before)}:{_content(after)}:{_number(when)}]"
        case Alternation(choices):
            return f"[{'|'.join(map(_content, choices))}]"


def _escaped(text: str, *, at_top: bool) -> str:
    """Text with a backslash before all that would be grammar where it stands."""
    text = re.sub(r"[\\()\[\]]" if at_top else r"[\\()\[\]:|]", r"\\\g<0>", text)
    return re.sub(r"\bAND\b|\bBREAK\b" if at_top else r"\bBREAK\b", r"\\\g<0>", text)


def _number(value: int | float) -> str:
    """The shortest digits that read back as the same number, without an exponent."""
    return f"{Decimal(repr(value)):f}"
