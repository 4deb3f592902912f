"""A Griffe extension: our docstrings as the reference shows them, and as they must be for that.

Griffe knows one name a line, where ours may tell of several at once ("width, height: in pixels"); and it takes what
stands before a colon in "Returns:" for a type, where ours have none. What a docstring tells of must be there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import griffe

NAMED = (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes)
RETURNED = (griffe.DocstringSectionKind.returns, griffe.DocstringSectionKind.yields)


class DocstringError(ValueError):
    """A docstring tells of something that is not there."""


class Docstrings(griffe.Extension):
    """Mends the parsed docstrings of a package.

    Raises:
        DocstringError: one tells of an argument or an attribute that is not there.
    """

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Mend all of a package, once it is read."""
        for thing in _all_of(pkg):
            for section in thing.docstring.parsed if thing.docstring else ():
                if section.kind in NAMED:
                    _mend_names(section.value, _there(thing), thing.path)
                elif section.kind in RETURNED and isinstance(thing, griffe.Function):
                    _mend_returns(section.value, thing)


def _all_of(thing: griffe.Object) -> Iterator[griffe.Object]:
    yield thing
    for member in thing.members.values():
        if isinstance(member, griffe.Object):
            yield from _all_of(member)


def _there(thing: griffe.Object) -> Mapping[str, Any]:
    """By name, a function's parameters, or a class's attributes, and what it is made of."""
    if isinstance(thing, griffe.Function):
        return {each.name: each for each in thing.parameters}
    made_of = getattr(thing.all_members.get("__init__"), "parameters", ())
    return {**thing.all_members, **{each.name: each for each in made_of}}


def _mend_names(told: Sequence[Any], there: Mapping[str, Any], path: str) -> None:
    for each in told:
        line = f"{each.name} {each.annotation}" if each.name.endswith(",") else each.name
        names = [name.strip(" ()*") for name in line.split(",")]
        if absent := [name for name in names if name not in there]:
            raise DocstringError(f"{path}: its docstring tells of {', '.join(absent)}, which it has not")
        kinds = {str(there[name].annotation): there[name].annotation for name in names}
        each.name, each.annotation = ", ".join(names), kinds.popitem()[1] if len(kinds) == 1 else None


def _mend_returns(told: Sequence[Any], function: griffe.Function) -> None:
    for each in told:
        if str(each.annotation) != str(function.returns):
            each.description = f"{each.annotation}: {each.description}"
            each.annotation = function.returns
