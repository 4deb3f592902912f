"""A kernel's library, loaded: it came with the package or is built on first use, or a line says why there is none."""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inkpunk_winograd.native.building import NotBuiltError, build_library
from inkpunk_winograd.native.prebuilt import LEAST, level, prebuilt_library

SWITCH = "INKPUNK_NATIVE"  # an environment variable: 0 loads and builds nothing, "build" builds in any case


@dataclass(frozen=True)
class Library:
    """What a C source became.

    Attributes:
        functions: its functions by name, or None.
        why_not: one line, where there are none.
        prebuilt: whether it came with the package.
    """

    functions: ctypes.CDLL | None
    why_not: str | None = None
    prebuilt: bool = False


@cache
def load(name: str) -> Library:
    """Load NAME.c of this folder, compiled; once in a process, whatever came of it."""
    switch = os.environ.get(SWITCH)
    if switch == "0":
        return Library(None, f"{SWITCH}=0 in the environment leaves them out")
    # For processors that may have more than the least level, a compiler that is there makes more of them.
    ways = [_prebuilt, _built] if level() != LEAST else [_built, _prebuilt]
    tried: list[Library] = []
    for way in [_built] if switch == "build" else ways:
        if (found := way(name)).functions is not None:
            return found
        tried.append(found)
    return Library(None, "; ".join(str(each.why_not) for each in tried))


def _prebuilt(name: str) -> Library:
    try:
        return Library(prebuilt_library(name), prebuilt=True)
    except NotBuiltError as error:
        return Library(None, str(error), prebuilt=True)


def _built(name: str) -> Library:
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
    return next((why for name in ("convolution", "attention", "norm") if (why := load(name).why_not)), None)
