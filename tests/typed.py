"""Checks of each call's types, as jaxtyping's import hook puts them on every function, but less slowly.

Its own binds a call's arguments and checks them twice, which made up half of what the workspace's tests took. Each
package's tests by themselves run under it unchanged.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

Checked = TypeVar("Checked", bound=Callable[..., Any])
sizes = jaxtyping.jaxtyped("context")  # within which arrays' sizes hold for one call
check = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))  # a TypeError, as by the hook


def typed(checked: Checked) -> Checked:
    """Check the types of a function's or a dataclass's arguments and result, and arrays' shapes among each other."""
    if isinstance(checked, type):
        exempt = getattr(checked, "__no_type_check__", False)
        if dataclasses.is_dataclass(checked) and "__init__" in vars(checked) and not exempt:
            checked.__init__ = typed(checked.__init__)
        return checked
    made: Checks | None = None if "<locals>" in checked.__qualname__ else Checks.of(checked)

    @functools.wraps(checked)
    def call(*arguments: Any, **options: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:  # by a test
            return checked(*arguments, **options)
        nonlocal made
        if made is None:  # of what a function defines each time it runs, few are ever called
            made = Checks.of(checked)
        if not made.shaped:
            return made.call(*arguments, **options)
        with sizes:
            return made.call(*arguments, **options)

    return call


class Checks(NamedTuple):
    """A function whose arguments and result are checked, and whether arrays' sizes are among them."""

    call: Callable[..., Any]
    shaped: bool

    @classmethod
    def of(cls, checked: Callable[..., Any]) -> "Checks":
        hints = checked.__annotations__
        for name in hints:
            hints[name] = resolved(hints[name], checked.__globals__)
        if inspect.isgeneratorfunction(checked):
            # by itself it would be checked when it is first asked for something, if ever
            checked = functools.wraps(checked)(functools.partial(checked))
        return cls(check(checked), "jaxtyping" in repr(hints))


def resolved(hint: Any, names: dict[str, Any]) -> Any:
    """A hint without quotes; what only a type checker imports may be anything, as it may for jaxtyping."""

    def holder() -> None: ...

    holder.__annotations__ = {"it": hint}
    try:
        return get_type_hints(holder, names, include_extras=True)["it"]
    except NameError:
        return Any


def install() -> None:
    """Let the import hook, which looks this name up for each function, use `typed`."""
    jaxtyping.jaxtyped = lambda *, typechecker: typed
