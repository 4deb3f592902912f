"""A batch: any number of orders, drawn one after another into a folder, whatever happens on the way."""

import gc
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from inkpunk_sampling import Step

from inkpunk.memory.shortage import is_shortage
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.files import Entry
from inkpunk.orders.folder import Folder, Job, Outcome, in_words
from inkpunk.pictures.picture import Picture
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request

WINDOW = (
    1000  # orders that are looked at before the first of them is drawn: those of one model are drawn in a row
)
PAUSE = 0.1  # seconds, while others draw all that is left

Load = Callable[[ModelChoice], Pipeline]


def draw_orders(
    entries: Iterable[Entry],
    folder: str | Path,
    *,
    together: int = 1,
    retry_failed: bool = False,
    window: int = WINDOW,
    load: Load = ModelChoice.load,
) -> Generator[Step | Outcome]:
    """Draw orders into a folder, and tell every step, and what became of each order.

    Those that are there already are not drawn again, and those that failed at an earlier time are not tried again.
    An order that fails does not stop the rest. One model is loaded at a time, and draws all of its orders among the
    next `window`. Several processes may work on the same orders in the same folder: each picture is drawn by one.

    Args:
        entries: of `inkpunk.orders.files.read_orders`.
        folder: where pictures and the manifest go; it must be there.
        together: how many pictures that differ in nothing but their seeds are drawn at once, at most. More is faster
            on an accelerator; sums then round otherwise, by a level of a picture's 255: see `inkpunk.road.batch`.
        retry_failed: try those again that failed at an earlier time.
        window: how many orders are looked at ahead.
        load: loads a model.

    Raises:
        FolderError: if the folder cannot be written any more. What is done stays, and the same call goes on.
        OrderError: as `read_orders`.
    """
    with closing(Folder(Path(folder), retry_failed=retry_failed)) as kept:
        desk = _Desk(kept, load, together)
        coming, more = iter(entries), True
        while more or desk.waiting:
            while more and desk.held < window:
                entry = next(coming, None)
                more = entry is not None
                if entry is not None and (outcome := desk.take_in(entry)):
                    yield outcome
            yield from desk.draw_next()


class _Desk:
    """The orders that wait, and the model that is loaded.

    Attributes:
        waiting: by model, in the order in which they came.
        held: how many wait.
    """

    def __init__(self, folder: Folder, load: Load, together: int) -> None:
        self.waiting = dict[ModelChoice, list[Job]]()
        self.held = 0
        self._folder, self._load, self._together = folder, load, together
        self._choice: ModelChoice | None = None
        self._pipeline: Pipeline | None = None
        self._refused = dict[ModelChoice, str]()  # models that could not be loaded, and why

    def take_in(self, entry: Entry) -> Outcome | None:
        """Lay an order to those that wait, or tell what has become of it already."""
        job = self._folder.meet(entry)
        if isinstance(job, Outcome):
            return job
        if refused := self._refused.get(job.order.choice):
            return self._folder.fail(job, refused)
        self.waiting.setdefault(job.order.choice, []).append(job)
        self.held += 1
        return None

    def draw_next(self) -> Generator[Step | Outcome]:
        """Draw the next order, and those that can be drawn with it; of the model that is loaded, if it has any."""
        before = self.held
        # the loaded one first; then the one whose order has waited longest
        for choice in sorted(self.waiting, key=lambda each: each != self._choice):
            if jobs := (yield from self._claimed(choice)):
                try:
                    yield from self._drawn(choice, jobs)
                finally:
                    for job in jobs:
                        self._folder.release(job)
                return
        if self.held and self.held == before:
            time.sleep(PAUSE)

    def _claimed(self, choice: ModelChoice) -> Generator[Outcome, None, list[Job]]:
        """Claim a job of a model, and those that can be drawn with it; tell of those that others have done."""
        claimed = list[Job]()
        for job in [*self.waiting[choice]]:
            if len(claimed) == self._together:
                break
            if claimed and not _differ_in_seeds(job, claimed):
                continue
            if not self._folder.claim(job):
                continue
            self._put_away(choice, job)
            if outcome := self._folder.settled(job):
                self._folder.release(job)
                yield outcome
            else:
                claimed.append(job)
        return claimed

    def _put_away(self, choice: ModelChoice, job: Job) -> None:
        self.held -= 1
        self.waiting[choice].remove(job)
        if not self.waiting[choice]:
            del self.waiting[choice]

    def _drawn(self, choice: ModelChoice, jobs: list[Job]) -> Generator[Step | Outcome]:
        if choice != self._choice:
            if self._pipeline is not None:
                self._choice = self._pipeline = None
                _free()
            try:
                self._pipeline, self._choice = self._load(choice), choice
            except Exception as error:  # of this model; there may be others
                refused = self._refused[choice] = in_words(error)
                waiting = self.waiting.pop(choice, [])
                self.held -= len(waiting)
                for job in (*jobs, *waiting):
                    yield self._folder.fail(job, refused)
                return
        assert self._pipeline is not None
        yield from _draw(self._pipeline, jobs, self._folder)


def _draw(pipeline: Pipeline, jobs: list[Job], folder: Folder) -> Generator[Step | Outcome]:
    """Draw jobs that differ in their seeds; if they fail together, each by itself."""
    start = time.perf_counter()
    try:
        request = _request(jobs)
        pictures = yield from _pictures(pipeline, request)
    except Exception as error:  # of these; there are others
        failed, short = in_words(error), is_shortage(error)
    else:
        seconds = (time.perf_counter() - start) / len(jobs)
        told = pipeline.idle(request)
        for job, picture in zip(jobs, pictures, strict=True):
            yield replace(folder.keep(job, picture, seconds), idle=told)
        return
    seconds = time.perf_counter() - start
    if short:
        _free()
    if len(jobs) > 1:
        for job in jobs:
            yield from _draw(pipeline, [job], folder)
    else:
        yield folder.fail(jobs[0], failed, round(seconds, 3))


def _request(jobs: list[Job]) -> Request:
    request = jobs[0].order.request()
    if len(jobs) > 1:
        request = replace(request, seeds=tuple(int(str(job.order.seed)) for job in jobs))
    return request


def _pictures(pipeline: Pipeline, request: Request) -> Generator[Step, None, list[Picture]]:
    last = None
    for last in pipeline.run(request):
        yield last
    assert last is not None  # a run has a step
    return pipeline.pictures(request, last.latents)


def _differ_in_seeds(job: Job, others: list[Job]) -> bool:
    def but_seed(each: Job) -> dict[str, object]:
        return {name: value for name, value in each.order.values.items() if name != "seed"}

    return but_seed(job) == but_seed(others[0]) and job.key not in {each.key for each in others}


def _free() -> None:
    """Give back the memory of what is not used any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
