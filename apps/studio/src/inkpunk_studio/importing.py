"""Importing gradio in two thirds of its time."""

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_stubs() -> Generator[None]:
    """Within it, gradio writes no stubs for editors into its own folder as it is imported.

    It looks where each of its classes is defined, reads that file, and passes over what has none.
    """
    of = inspect.getfile

    def getfile(object: Any) -> str:
        if isinstance(object, type) and object.__module__.startswith("gradio."):
            raise OSError("not asked for")
        return of(object)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = of
