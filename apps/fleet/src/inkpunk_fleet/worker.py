"""A worker: it holds a model, draws orders, and saves each picture itself under the order's name."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from inkpunk import Pipeline
from inkpunk.memory.shortage import is_shortage
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.folder import in_words
from inkpunk.orders.manifest import Row, now, row_of_picture
from inkpunk.orders.order import Order

from inkpunk_fleet.deaths import MOST, Deaths
from inkpunk_fleet.store import Store, StoreError
from inkpunk_fleet.tasks import Outcome, Task


class Worker:
    """Draws orders, one model at a time, for as long as its process lives.

    Nothing but its model is kept between calls: whether an order is done is asked of the folder each time. A process
    that dies loses the picture that it was drawing, and whoever takes its orders over finds the others done.
    """

    def __init__(
        self,
        out: str,
        *,
        name: str = "alone",
        folder: str | None = None,
        threads: int | None = None,
        load: Callable[[ModelChoice], Pipeline] = ModelChoice.load,
    ) -> None:
        """Begin without a model; the first order says which.

        Args:
            out: where pictures go, as `Store` takes it.
            name: tells this worker from others, and stays when its process is replaced.
            folder: what paths in orders are relative to, if this machine has it.
            threads: how many of the processor's one picture may use; None leaves it to torch.
            load: loads a model.
        """
        if folder and Path(folder).is_dir():
            os.chdir(folder)
        if threads:
            torch.set_num_threads(threads)
        self._store, self._load, self._deaths = Store(out), load, Deaths(name)
        self._choice: ModelChoice | None = None
        self._pipeline: Pipeline | None = None
        self._refused = dict[ModelChoice, str]()  # models that could not be loaded, and why

    def meet(self, tasks: list[Task]) -> Iterator[Outcome]:
        """Draw what is to be drawn, that of the model which is loaded first, and tell what became of each."""
        orders = {
            task.key: Order.read(task.values) for task in tasks if task.file and task.values is not None
        }
        choices = {key: order.choice for key, order in orders.items()}

        def other_model(task: Task) -> tuple[bool, str]:
            choice = choices.get(task.key)
            return choice != self._choice, repr(choice)

        for task in sorted(tasks, key=other_model):
            try:
                yield self._outcome(task, orders.get(task.key))
            except StoreError as error:
                yield Outcome(task.line, "stuck", str(error))

    def _outcome(self, task: Task, order: Order | None) -> Outcome:
        if order is None or task.file is None:
            row = None if task.told else _failure(task, task.error)
            return Outcome(task.line, "failed", task.error, row)
        if self._store.has(task.file):
            return self._there(task, task.file)
        if task.failed:
            return Outcome(task.line, "failed before")
        if self._deaths.of(task.key) >= MOST:
            return _failed(task, f"ended {MOST} processes that drew it; does it take too much memory?")
        start = time.perf_counter()
        self._deaths.drawing(task.key)
        try:
            data = self._drawn(order)
        except Exception as error:  # of this order; there are others
            if is_shortage(error):
                _free()
            return _failed(task, in_words(error), time.perf_counter() - start)
        finally:
            self._deaths.drawing(None)
        if not self._store.put(task.file, data):
            return self._there(task, task.file)
        return Outcome(task.line, "drawn", row=_row(task, task.file, data, time.perf_counter() - start))

    def _there(self, task: Task, file: str) -> Outcome:
        row = None if task.told else _row(task, file, self._store.read(file) or b"", None)
        return Outcome(task.line, "there", row=row)

    def _drawn(self, order: Order) -> bytes:
        picture = self._pipeline_of(order.choice).generate(order.request())[0]
        return picture.file(order.form, order.quality)

    def _pipeline_of(self, choice: ModelChoice) -> Pipeline:
        if self._pipeline is not None and choice == self._choice:
            return self._pipeline
        if refused := self._refused.get(choice):
            raise ModelError(refused)
        self._choice = self._pipeline = None
        _free()
        try:
            self._pipeline = self._load(choice)
        except Exception as error:
            self._refused[choice] = in_words(error)
            raise
        self._choice = choice
        return self._pipeline


class ModelError(Exception):
    """A model that could not be loaded when it was first asked for; the message says why."""


def _row(task: Task, file: str, data: bytes, seconds: float | None) -> Row:
    return row_of_picture(task.key, file, data, seconds, task.line, task.values)


def _failure(task: Task, error: str, seconds: float | None = None) -> Row:
    spent = None if seconds is None else round(seconds, 3)
    return Row(task.key, error=error, seconds=spent, line=task.line, order=task.values, at=now())


def _failed(task: Task, error: str, seconds: float | None = None) -> Outcome:
    return Outcome(task.line, "failed", error, _failure(task, error, seconds))


def _free() -> None:
    """Give back the memory of what is not used any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
