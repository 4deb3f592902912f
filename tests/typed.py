"""Checks of each call's types, as jaxtyping's import hook puts them on every function, but less slowly.

Its own binds a call's arguments and checks them twice, which made up half of what the workspace's tests took. Each
package's tests by themselves run under it unchanged.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

import jaxtyping
from beartype import BeartypeConf, beartype

Checked = TypeVar("Checked", bound=Callable[..., Any])
shapes = jaxtyping.jaxtyped
check = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))  # a TypeError, as by the hook


def typed(checked: Checked) -> Checked:
    """Check the types of a function's or a dataclass's arguments and result, and arrays' shapes among each other."""
    if isinstance(checked, type):
        exempt = getattr(checked, "__no_type_check__", False)
        if dataclasses.is_dataclass(checked) and "__init__" in vars(checked) and not exempt:
            checked.__init__ = typed(checked.__init__)
        return checked
    if inspect.isgeneratorfunction(checked):
        # beartype by itself would check its arguments when it is first asked for something, if ever
        return shapes(checked, typechecker=beartype)
    hints = checked.__annotations__
    for name in hints:
        hints[name] = resolved(hints[name], checked.__globals__)
    fast, shaped = check(checked), "jaxtyping" in repr(hints)

    @functools.wraps(checked)
    def call(*arguments: Any, **options: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:  # by a test
            return checked(*arguments, **options)
        if not shaped:
            return fast(*arguments, **options)
        with shapes("context"):
            return fast(*arguments, **options)

    return call


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
