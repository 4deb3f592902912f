"""The worker: one thread that draws what waits, a picture at a time."""

import hashlib
import time
from contextlib import closing, suppress
from dataclasses import replace
from threading import Lock, Thread
from typing import TYPE_CHECKING, Literal

from inkpunk.orders.choice import ModelChoice
from inkpunk.pictures.formats import ending_of
from inkpunk.pictures.picture import slug

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.asking import Asking
from inkpunk_studio.work.book import Book
from inkpunk_studio.work.job import Job, NoSuchJobError
from inkpunk_studio.work.journal import Journal

if TYPE_CHECKING:
    from inkpunk_studio.work.drawing import Begun, Easel, Load

LOOKS = 30.0  # seconds between two looks for results whose time is over
MOST_TRIES = 5
"""How often the studio may end while it draws the same picture: memory that runs out would end it each time."""
Fate = Literal["over", "stopped"]


class Worker(Thread):
    """Draws jobs from the book until that is closed.

    It alone imports torch as it starts, so that the page need not wait for it.
    """

    def __init__(
        self, book: Book, journal: Journal, asking: Asking, settings: Settings, load: "Load"
    ) -> None:
        super().__init__(name="inkpunk-studio", daemon=True)
        self._book, self._journal, self._asking, self._settings = book, journal, asking, settings
        self._load = load
        self._lock = Lock()
        self._begun: tuple[str, Begun] | None = None
        self._loaded: ModelChoice | None = None

    def begun(self, id: str) -> "Begun | None":
        """The picture that is drawn, if it is this job's and has a step behind it."""
        with self._lock:
            return self._begun[1] if self._begun is not None and self._begun[0] == id else None

    @property
    def loaded(self) -> ModelChoice | None:
        """The model that is loaded; None while there is none."""
        return self._loaded

    def run(self) -> None:
        """Draw, until the book is closed."""
        from inkpunk_studio.work.drawing import Easel

        easel = Easel(self._load)
        if not self._book.waiting():
            with suppress(Exception):  # whoever asks for it is told
                self._pipeline_ready(easel)
        while not self._book.closed:
            if (job := self._book.take(LOOKS)) is not None:
                with suppress(NoSuchJobError):
                    self._work_on(easel, job)
            before = time.time() - self._settings.keep_results
            for id in self._book.forget(before, self._settings.most_results):
                self._journal.forget(id)

    def _pipeline_ready(self, easel: "Easel") -> None:
        """Load the model that will most likely be asked for."""
        _ = easel.pipeline(self._asking.usual_choice())
        self._loaded = easel.choice

    def _work_on(self, easel: "Easel", job: Job) -> None:
        """Draw what is left of a job."""
        from inkpunk.memory.shortage import is_shortage
        from inkpunk.orders.folder import in_words

        job = replace(job, tries=job.tries + 1)
        self._note(job)
        error = None
        if job.tries > MOST_TRIES:
            error = f"the studio ended {MOST_TRIES} times while it drew this; does it take too much memory?"
        else:
            try:
                for place in job.undrawn:
                    if self._draw(easel, job.id, place) == "stopped":
                        break
            except Exception as failure:  # of this job; there are others
                error = self._asking.plainly(in_words(failure), self._journal.folder_of(job.id))
                if is_shortage(failure):
                    easel.clear()
            finally:
                self._show(None)
        self._end(job.id, error)

    def _end(self, id: str, error: str | None) -> None:
        if error is not None:
            self._note(self._book.end(id, "failed", error))
        elif self._book.stops(id):
            self._note(self._book.end(id, "cancelled"))
        elif self._book.closed and self._book.job(id).undrawn:
            self._note(replace(self._book.job(id), state="waiting", tries=0))  # the next start goes on
        else:
            self._note(self._book.end(id, "done"))

    def _draw(self, easel: "Easel", id: str, place: int) -> Fate:
        """Draw one of a job's pictures, and save it."""
        from inkpunk_studio.work.drawing import drawn_before, save

        if self._book.closed or self._book.stops(id):
            return "stopped"
        job, start = self._book.job(id), time.perf_counter()
        order, path = job.orders[place], self._settings.pictures / file_name(job, place)
        if path.exists():
            self._note(self._book.add(id, drawn_before(path, place)))
            return "over"
        begun, stopped = None, False
        with closing(easel.draw(self._asking, order, self._journal.folder_of(id))) as steps:
            for begun in steps:
                self._loaded = easel.choice
                self._show((id, begun))
                step, spent = begun.step, time.perf_counter() - start
                self._book.advance(id, step.index, step.total, spent / step.index)
                if stopped := self._book.closed or self._book.stops(id):
                    break
                if self._book.skips(id):
                    self._note(self._book.pass_over(id, place))
                    return "over"
        assert begun is not None  # a run has a step
        if stopped:
            if self._book.keeps(id):
                self._keep(id, begun, place, start)
            return "stopped"
        for note in begun.pipeline.notes_of(begun.request):
            self._book.warn(id, note)
        self._note(self._book.add(id, save(begun, order, place, path, start)))
        return "over"

    def _keep(self, id: str, begun: "Begun", place: int, start: float) -> None:
        """Keep a picture as it stands, beside its job; one that is of no use yet is not missed."""
        from inkpunk_studio.work.drawing import save

        order = self._book.job(id).orders[place]
        path = self._journal.folder_of(id) / f"unfinished{ending_of(order.form)}"
        with suppress(Exception):
            self._book.keep(id, save(begun.as_it_stands(), order, place, path, start))

    def _note(self, job: Job) -> None:
        """Write a job down; where that cannot be, as on a full disk, it is drawn nevertheless."""
        with suppress(OSError):
            self._journal.write(job)

    def _show(self, begun: "tuple[str, Begun] | None") -> None:
        with self._lock:
            self._begun = begun


def file_name(job: Job, place: int) -> str:
    """The name of a job's picture, which no other has: by its time, its prompt, its job and its place.

    It follows from the job alone: a picture that is there under it was drawn for it, whatever ended the studio before
    it could be noted. It sorts by time, and gives the job's id away to nobody.
    """
    order = job.orders[place]
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(job.made))
    mark = hashlib.sha256(job.id.encode()).hexdigest()[:10]
    words = slug(str(order.values["prompt"]))
    return "-".join([stamp, *words, mark, f"{place + 1:03}"]) + ending_of(order.form)
