r"""Alternatives that are chosen before a prompt is parsed, in the notation of the Dynamic Prompts extension.

    {red|green|blue} dragon         one of them; each may be empty, or hold others
    {3::red|green} dragon           red three times as often as green
    {2$$red|green|blue} dragon      two different ones, between commas; {1-2$$...} one or two; {2$$ and $$...} " and "
    __colour__ dragon               a line of the list "colour", which may hold variants, too

A backslash takes the next character as text. What is none of these is text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

DEEPEST = 20
"""Groups within one another; and lists that name lists."""

MOST_CHOICES = 1000
MOST_CHARACTERS = 100_000

_LEXEME = re.compile(
    r"\\.|__(?P<list>[^\W_](?:[\w./-]*?[^\W_])??)__|(?P<mark>[{}|])|(?:(?!__)[^\\{}|])+|.", re.DOTALL
)
_COUNT = re.compile(r"\s*([0-9]{1,3})(?:-([0-9]{1,3}))?\$\$(?:([^$]*)\$\$)?")
_WEIGHT = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})::")


class VariantError(ValueError):
    """Variants that cannot be chosen from; the message says which, why, and what to do."""


@dataclass(frozen=True)
class _List:
    name: str


@dataclass(frozen=True)
class _Group:
    choices: Sequence["_Items"]


_Item: TypeAlias = str | _List | _Group
_Items: TypeAlias = list[_Item]


def choose(text: str, random: Random, lists: Mapping[str, Sequence[str]] | None = None) -> str:
    """Choose for each group of variants in a prompt, and for each list that it names.

    A text without variants is returned as it is. Of others, a text is returned in which nothing is left to choose.

    Args:
        text: any.
        random: what to choose by: seeded with an image's seed, it chooses the same again.
        lists: lines by the name of their list; without any at all, `__name__` is text.

    Raises:
        VariantError: for a list that is not there, is empty, or holds itself; for a text that grows without bound.
    """
    items = _parse(text, named=bool(lists))
    if all(isinstance(item, str) for item in items):
        return text
    return _Chooser(random, lists or {}).chosen(items)


def _parse(text: str, named: bool) -> _Items:
    open_groups: list[list[_Items]] = [[[]]]  # each its choices so far, each of these its items
    for found in _LEXEME.finditer(text):
        lexeme, group = found[0], open_groups[-1]
        if found["mark"] == "{" and len(open_groups) <= DEEPEST:
            open_groups.append([[]])
        elif found["mark"] == "|" and len(open_groups) > 1:
            group.append([])
        elif found["mark"] == "}" and len(open_groups) > 1:
            open_groups.pop()
            open_groups[-1][-1].append(_Group(group))
        elif found["list"] and named:
            group[-1].append(_List(found["list"]))
        elif lexeme in (
            "{",
            "}",
            "\\",
        ):  # text: marked as such, so that what is chosen cannot make it grammar
            group[-1].append("\\" + lexeme)
        else:
            group[-1].append(lexeme)
    while len(open_groups) > 1:  # never closed, so it is text
        first, *others = open_groups.pop()
        open_groups[-1][-1] += ["\\{", *first]
        for choice in others:
            open_groups[-1][-1] += ["|", *choice]
    return open_groups[0][0]


@dataclass
class _Chooser:
    random: Random
    lists: Mapping[str, Sequence[str]]
    choices: int = 0

    def chosen(self, items: _Items, depth: int = 0) -> str:
        if depth > 2 * DEEPEST:
            raise VariantError(f"variants: more than {DEEPEST} within one another; does a list name itself?")
        text = "".join(
            item
            if isinstance(item, str)
            else self.from_list(item.name, depth)
            if isinstance(item, _List)
            else self.from_group(item, depth)
            for item in items
        )
        if len(text) > MOST_CHARACTERS:
            raise VariantError(
                f"variants: a prompt of more than {MOST_CHARACTERS:,} characters comes of them"
            )
        return text

    def from_list(self, name: str, depth: int) -> str:
        lines = self.lists.get(name)
        if not lines:
            known = ", ".join(sorted(self.lists)[:10])
            what = "there is no such list" if lines is None else "the list is empty"
            raise VariantError(f"__{name}__: {what}; there are {known}")
        line = lines[self.index([1.0] * len(lines))]
        return self.chosen(_parse(line, named=True), depth + 1)

    def from_group(self, group: _Group, depth: int) -> str:
        least, most, between, choices = _counted(group)
        left = [_weighted(choice) for choice in choices]
        taken = list[str]()
        for _ in range(min(least + self.index([1.0] * (most - least + 1)), len(left))):
            _, choice = left.pop(self.index([weight for weight, _ in left]))
            taken.append(self.chosen(choice, depth + 1))
        return between.join(taken)

    def index(self, weights: Sequence[float]) -> int:
        """The index of one of them, each as often as it weighs."""
        if len(weights) == 1:
            return 0
        self.choices += 1
        if self.choices > MOST_CHOICES:
            raise VariantError(f"variants: more than {MOST_CHOICES:,} choices; does a list name itself?")
        # of Python's generator, random() alone gives the same numbers in every version
        point = self.random.random() * sum(weights)
        for index, weight in enumerate(weights):
            point -= weight
            if point < 0:
                return index
        return len(weights) - 1


def _counted(group: _Group) -> tuple[int, int, str, Sequence[_Items]]:
    """How many to choose, at least and at most, what goes between them, and of which choices."""
    first, *others = group.choices
    told = "".join(item for item in first[:1] if isinstance(item, str))
    found = _COUNT.match(told)
    if found is None:
        return 1, 1, "", group.choices
    least = int(found[1])
    most = max(int(found[2] or least), least)
    between = ", " if found[3] is None else found[3]
    return least, most, between, [[told[found.end() :], *first[1:]], *others]


def _weighted(choice: _Items) -> tuple[float, _Items]:
    match choice:
        case [str(told), *others] if found := _WEIGHT.match(told):
            return float(found[1]), [told[found.end() :], *others]
        case _:
            return 1.0, choice
