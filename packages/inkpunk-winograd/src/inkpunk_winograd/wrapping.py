"""One way of changing what a module computes, from outside, and of taking the change off again.

    undo = wrap(layer, around)  # around(layer, inner, *inputs): inner(layer, *inputs) is what it was before
    ...
    undo()

The module keeps its class, parameters, names and hooks; only an object `forward` of its own stands before its class's
method. So whatever goes by a module's type, or swaps its class, finds what it would find without the change. Changes
lie around each other, the last outermost, and come off in any order. Copies and pickles of a module carry them along,
bound to the copy. No change may keep anything of one forward pass on the module: threads may share it.
"""

import types
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

from torch import nn

Inner: TypeAlias = Callable[..., Any]
"""(module, *inputs) to what the module gave before the change; also of another module with the same attributes."""
Around: TypeAlias = Callable[..., Any]
"""(module, inner, *inputs) to what the module gives now. For copies and pickles it must pickle itself."""


class Forward:
    """A module's forward pass with changes around it; to whoever inspects it, the method that it was.

    torch.jit.script asks a method for its source, torch.compile for its function: both find the plain ones, and so
    see nothing of the changes.
    """

    def __init__(
        self, module: nn.Module, before: Callable[..., Any] | None, changes: tuple[Around, ...]
    ) -> None:
        """Of its class's own forward, unless something else stood `before` it; the first change innermost."""
        self._module = weakref.ref(module)  # else a module would only be freed by the garbage collector
        self.before = before
        self.set(changes)

    def set(self, changes: tuple[Around, ...]) -> None:
        """Have these changes, the first innermost."""
        inner = _plain if self.before is None else partial(_instead, self.before)
        for around in changes:
            inner = partial(_changed, around, inner)
        self._run, self.changes = inner, changes

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """What the module gives."""
        return self._run(cast(nn.Module, self._module()), *inputs, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        return Forward, (self._module(), self.before, self.changes)

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return types.MethodType

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        module = self._module()
        return self.before or types.MethodType(cast(Any, type(module)).forward, module)

    def __getattr__(self, name: str) -> Any:
        if name in ("_module", "_run", "before", "changes"):  # not there yet: it is being made
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)


def wrap(module: nn.Module, around: Around) -> Callable[[], None]:
    """Lay a change around a module's forward pass, outermost, and return what takes it off again.

    Args:
        module: any.
        around: gets the module, what the module did before, and the inputs, keywords included.

    Returns:
        The undo; calling it again does nothing.
    """
    known = vars(module).get("forward")
    if not isinstance(known, Forward):
        known = Forward(module, known, ())
        vars(module)["forward"] = known
    known.set((*known.changes, around))
    of = weakref.ref(module)

    def undo() -> None:
        if (still := of()) is not None:
            unwrap(still, around)

    return undo


def unwrap(module: nn.Module, around: Around) -> None:
    """Take a change off, wherever it lies; without it, do nothing. What lies around it stays."""
    for name, forward in [*vars(module).items()]:
        if isinstance(forward, Forward) and any(each is around for each in forward.changes):
            forward.set(tuple(each for each in forward.changes if each is not around))
            if name == "forward" and not forward.changes:
                del vars(module)["forward"]
                if forward.before is not None:
                    vars(module)["forward"] = forward.before


def changes(module: nn.Module) -> tuple[Around, ...]:
    """The changes around a module's forward pass, innermost first.

    Those, too, that lie beneath another library's change, where that has kept what it found as an attribute.
    """
    found = {id(each): each for each in vars(module).values() if isinstance(each, Forward)}
    return tuple(around for forward in found.values() for around in forward.changes)


def _plain(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    return cast(Any, type(module)).forward(module, *inputs, **named)


def _instead(before: Callable[..., Any], module: nn.Module, *inputs: Any, **named: Any) -> Any:
    return before(*inputs, **named)


def _changed(around: Around, inner: Inner, module: nn.Module, *inputs: Any, **named: Any) -> Any:
    return around(module, inner, *inputs, **named)
