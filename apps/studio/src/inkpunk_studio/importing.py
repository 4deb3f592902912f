"""Importing gradio, and building a page of it, in two thirds of their time."""

import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, cast


@contextmanager
def without(module: str) -> Generator[None]:
    """Within it, a module that nobody has imported yet is not there: who can do without it does, and goes on so."""
    modules = cast(dict[str, ModuleType | None], sys.modules)
    absent = module not in modules
    if absent:
        modules[module] = None
    try:
        yield
    finally:
        if absent:
            del modules[module]


@contextmanager
def deferring_models() -> Generator[None]:
    """Within it, pydantic's models are built when they are first used, not where they are written.

    FastAPI's, of OpenAPI's description, take a tenth of a second, and few ask for it.
    """
    config = import_module("pydantic").BaseModel.model_config
    before = config.copy()
    config["defer_build"] = True
    try:
        yield
    finally:
        config.clear()
        config.update(before)


TOOLS = ("gradio.cli", "gradio.external", "gradio.workflow")


@contextmanager
def without_tools() -> Generator[None]:
    """Within it, gradio brings no tools that a page of its own has no use for: what they are called by stays.

    They are its command line, the loading of others' pages, and workflows: a tenth of its time. Each comes when it is
    called.
    """
    absent = [name for name in TOOLS if name not in sys.modules]
    sys.modules.update({name: _Callable(name) for name in absent})
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


class _Callable(ModuleType):
    """In the place of a module: has any function, and imports the module when one is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own, by which it would be taken for a package
            raise AttributeError(name)

        def called(*arguments: Any, **options: Any) -> Any:
            return getattr(import_module(self.__name__), name)(*arguments, **options)

        return called


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

    Gradio makes two, which nobody asks, and describes the page for each: a quarter of a second. It is described when
    it is mounted.
    """
    servers: Any = import_module("gradio.routes").App
    pages: Any = import_module("gradio.blocks").Blocks
    create, describe = servers.create_app, pages.get_config_file

    def none(*_: Any, **__: Any) -> None:
        pass

    servers.create_app = pages.get_config_file = none
    try:
        yield
    finally:
        servers.create_app, pages.get_config_file = staticmethod(create), describe


@contextmanager
def remembering_signatures() -> Generator[None]:
    """Within it, what a function takes is found out once: gradio asks for each of a page's 250 components."""
    signature, getfullargspec = inspect.signature, inspect.getfullargspec
    inspect.signature, inspect.getfullargspec = _remembered(signature), _remembered(getfullargspec)
    try:
        yield
    finally:
        inspect.signature, inspect.getfullargspec = signature, getfullargspec


def _remembered(ask: Callable[..., Any]) -> Callable[..., Any]:
    known = cache(ask)

    def told(*arguments: Any, **options: Any) -> Any:
        try:
            return known(*arguments, **options)
        except TypeError:  # of what has no hash, or no signature
            return ask(*arguments, **options)

    return told
