"""The studio's start: what gradio brings, and does, that the studio can do without."""

import inspect
import subprocess
import sys
from importlib.util import find_spec
from unittest.mock import Mock

import gradio
import pytest
from fastapi import FastAPI
from inkpunk_studio.importing import (
    deferring_models,
    remembering_signatures,
    without,
    without_servers,
)
from pydantic import BaseModel, ValidationError


def test_gradio_is_imported_without_writing_into_its_folder() -> None:
    script = (
        "import inspect, pathlib; from inkpunk_studio.importing import without_stubs\n"
        "written = []; pathlib.Path.write_text = lambda path, *rest, **options: written.append(path)\n"
        "with without_stubs(): import gradio\n"
        "assert not written, written; assert inspect.getfile(gradio.Button)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_gradio_brings_no_tools_and_has_them_when_they_are_called() -> None:
    script = (
        "import sys; from inkpunk_studio.importing import without_tools\n"
        "with without_tools(): import gradio\n"
        "assert not {'gradio.cli', 'gradio.external', 'gradio.workflow'} & {*sys.modules}\n"
        "try: gradio.load('nowhere', src='nothing')\n"
        "except ValueError as error: assert 'must be one of' in str(error), error\n"
        "else: raise AssertionError\n"
        "from gradio.external import load"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_who_can_do_without_a_module_does() -> None:
    import colorsys

    with without("colorsys"), without("antigravity"):
        import colorsys as still

        with pytest.raises(ModuleNotFoundError):
            import antigravity  # noqa: F401  # pyright: ignore
    assert still is colorsys and find_spec("antigravity") is not None


def test_models_are_built_when_they_are_first_used() -> None:
    with deferring_models():

        class Later(BaseModel):
            much: int

    class Now(BaseModel):
        much: int

    assert not Later.__pydantic_complete__
    assert Now.__pydantic_complete__
    assert Later.model_validate({"much": 3}).much == 3
    with pytest.raises(ValidationError, match="much"):
        Later.model_validate({"much": "many"})


def test_a_page_gets_no_server_before_it_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Mock(wraps=gradio.blocks.App.create_app)
    monkeypatch.setattr(gradio.blocks.App, "create_app", made)
    with without_servers(), gradio.Blocks() as page:
        gradio.Button()
    made.assert_not_called()
    gradio.mount_gradio_app(FastAPI(), page, path="/")
    made.assert_called_once()


def test_signatures_are_the_same_where_they_are_remembered() -> None:
    class Unhashable:
        __hash__ = None  # pyright: ignore

        def __call__(self, much: int) -> None: ...

    asked = (sorted, Unhashable(), gradio.Textbox.__init__, lambda one, *, two=2: None)
    before = [inspect.signature(each) for each in asked]
    real = inspect.signature
    with remembering_signatures():
        assert [inspect.signature(each) for each in asked] == before
        assert inspect.signature(asked[2]) is inspect.signature(asked[2])
        with pytest.raises(TypeError, match="is not a callable"):
            inspect.signature(3)  # pyright: ignore
    assert inspect.signature is real
