"""A model, settings, desks and pictures that tests share."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest
from inkpunk import Order, Pipeline, Request
from inkpunk.pictures.facts import Facts
from inkpunk.pictures.picture import Picture
from inkpunk_sampling import Step
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from PIL import Image

PATIENCE = 30.0  # seconds, for what takes milliseconds


@pytest.fixture(scope="session")
def sketch() -> Pipeline:
    return Pipeline.load("sketch")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(pictures=tmp_path / "pictures", state=tmp_path / "state", hub=None)


@pytest.fixture
def order() -> Callable[..., Order]:
    """Makes small orders."""

    def make(**values: Any) -> Order:
        return Order.read({"prompt": "a raven", "width": 64, "height": 64, "steps": 2, "seed": 7, **values})

    return make


@pytest.fixture
def open_desk(sketch: Pipeline, settings: Settings) -> Iterator[Callable[..., Desk]]:
    """Starts desks whose model is loaded already; they are closed when the test ends."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Desk:
            load = changes.pop("load", lambda choice: sketch)
            return stack.enter_context(Desk(replace(settings, **changes), load))

        yield start


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


class Gate:
    """Loads a model whose steps wait, each until it is let pass."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.steps, self._pipeline = Semaphore(0), pipeline

    def __call__(self, choice: object) -> Pipeline:
        gated = replace(self._pipeline)
        object.__setattr__(gated, "run", self._run)
        return gated

    def _run(self, request: Request) -> Iterator[Step]:
        for step in self._pipeline.run(request):
            assert self.steps.acquire(timeout=PATIENCE)
            yield step

    def let_pass(self, steps: int) -> None:
        for _ in range(steps):
            self.steps.release()


@pytest.fixture
def gate(sketch: Pipeline) -> Iterator[Gate]:
    """Use it as a desk's `load`."""
    made = Gate(sketch)
    yield made
    made.let_pass(1000)


@pytest.fixture(scope="session")
def facts() -> Facts:
    """Those of the pictures that `hang` makes."""
    return Facts(
        prompt="a raven",
        negative_prompt="a crow",
        steps=2,
        sampler="euler",
        spacing="linear",
        guidance=7.5,
        seed=7,
        width=64,
        height=64,
        model="sketch",
        model_hash="",
        version="0.13.0",
    )


@pytest.fixture(scope="session")
def hang(facts: Facts) -> Callable[..., Path]:
    """Puts pictures into folders, without drawing them."""

    def hang(
        folder: Path, name: str = "a.png", *, colour: str = "teal", when: int | None = None, **told: Any
    ) -> Path:
        folder.mkdir(exist_ok=True)
        path = Picture(Image.new("RGB", (64, 64), colour), replace(facts, **told)).save(folder / name)
        if when is not None:
            os.utime(path, (when, when))
        return path

    return hang
