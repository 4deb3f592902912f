"""A kernel's library, loaded: built for this machine on first use, or a line that says why there is none."""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inkpunk_winograd.native.building import NotBuiltError, build_library


@dataclass(frozen=True)
class Library:
    """What a C source became.

    Attributes:
        functions: its functions by name, or None.
        why_not: one line, where there are none.
    """

    functions: ctypes.CDLL | None
    why_not: str | None = None


@cache
def load(name: str) -> Library:
    """Build and load NAME.c of this folder; once in a process, whatever came of it."""
    try:
        return Library(build_library(Path(__file__).with_name(f"{name}.c")))
    except NotBuiltError as error:
        return Library(None, str(error))


def functions(name: str) -> ctypes.CDLL:
    """The functions of NAME.c.

    Raises:
        RuntimeError: there are none on this machine; it says why.
    """
    loaded = load(name)
    if loaded.functions is None:
        raise RuntimeError(f"no native {name}: {loaded.why_not}")
    return loaded.functions


def why_not_native() -> str | None:
    """Why there are no native kernels here, in one line; None where there are."""
    return next((why for name in ("convolution", "attention") if (why := load(name).why_not)), None)
