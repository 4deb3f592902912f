"""Importing torch and gradio, and building gradio's page, in less time than they take by themselves."""

import ctypes
import inspect
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any


def load_ahead() -> Thread | None:
    """Have torch's libraries loaded by a thread while other modules are imported; None where that is not done.

    They are half a second of what importing torch takes. Python lets no other thread on as it loads a library, but it
    does as it calls a function of one, and what loads them is one.
    """
    found = None if sys.platform == "win32" else find_spec("torch")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "lib"
    ending = "dylib" if sys.platform == "darwin" else "so"
    load = ctypes.CDLL(None).dlopen
    load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p

    def work() -> None:
        as_torch_does = {"libtorch_global_deps": os.RTLD_GLOBAL, "libtorch": os.RTLD_LOCAL}
        for name, seen in as_torch_does.items():
            load(os.fsencode(folder / f"{name}.{ending}"), os.RTLD_NOW | seen)

    thread = Thread(target=work, name="libraries", daemon=True)
    thread.start()
    return thread


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


@contextmanager
def without_servers() -> Generator[None]:
    """Within it, a page of gradio's that is built gets no server of its own: it is mounted into another.

    Gradio makes two, which nobody asks: a fifth of a second.
    """
    servers: Any = import_module("gradio.routes").App
    create = servers.create_app

    def none(*_: Any, **__: Any) -> None:
        pass

    servers.create_app = none
    try:
        yield
    finally:
        servers.create_app = staticmethod(create)
