"""The desk: where everybody asks for pictures, page and addresses alike."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from PIL import Image

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.asking import Asking
from inkpunk_studio.work.attachments import Attachment, check_names
from inkpunk_studio.work.book import Book
from inkpunk_studio.work.events import Watch, Watches
from inkpunk_studio.work.job import Job
from inkpunk_studio.work.journal import Journal
from inkpunk_studio.work.models import Models
from inkpunk_studio.work.worker import Worker

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

CLOSING_SECONDS = 60.0  # that a step may take at most while the studio waits for it to end


class Desk:
    """Takes jobs and has them drawn, one after another, by a thread of its own.

    Everything may be asked from any thread, and nothing waits for the drawing but `wait`.

    Beside its methods, it has:
        settings: what may be asked of it.
        models: which there are.
        asking: reads orders as the settings allow.
    """

    def __init__(
        self, settings: Settings, load: "Callable[[ModelChoice], Pipeline]" = ModelChoice.load
    ) -> None:
        """Set it up; it draws once it is started.

        Args:
            settings: of the studio.
            load: loads a model.
        """
        self.settings, self.models = settings, Models(settings)
        self.asking = Asking(settings, self.models)
        self._load = load
        self._watches = Watches()
        self._book = Book(settings.most_waiting, self._watches.tell)
        self._journal: Journal | None = None
        self._worker: Worker | None = None
        self._named: tuple[ModelChoice, str] | None = None

    # -- from start to end

    def start(self) -> None:
        """Take up what an earlier run has left unfinished, and begin to draw.

        Raises:
            OSError: for a folder that cannot be made.
            StateTakenError: another studio works with the same folder of unfinished jobs.
        """
        self.settings.pictures.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self.settings.state, self.settings.pictures)
        for job in self._journal.read():
            self._book.restore(job)
        self._worker = Worker(self._book, self._journal, self.asking, self.settings, self._load)
        self._worker.start()

    def close(self) -> None:
        """Stop within a step; what is unfinished is gone on with at the next start."""
        was_closed = self._book.closed
        self._book.close()
        self._watches.close()
        if self._worker is not None:
            self._worker.join(CLOSING_SECONDS)
        if self._journal is not None and not was_closed:
            self._journal.close()

    def __enter__(self) -> "Desk":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- jobs

    def submit(
        self,
        orders: Sequence[Order],
        *,
        client: str,
        warnings: Sequence[str] = (),
        attachments: Sequence[Attachment] = (),
    ) -> Job:
        """Ask for pictures.

        Args:
            orders: one picture each, with its seed. Options are those in `inkpunk_studio.work.limits.ACCEPTED`;
                "model" is a listed name, the current model's where it is left out; pictures are called by the names
                of their attachments.
            client: who asks.
            warnings: what the asker should know, a line each.
            attachments: the pictures that orders name.

        Raises:
            QueueFullError: too many jobs wait.
            OrderError, RequestError: for what cannot be drawn, or may not be asked for here.
        """
        if not 1 <= len(orders) <= self.settings.most_pictures:
            raise OrderError(f"{len(orders)} pictures: must be 1 to {self.settings.most_pictures} at once")
        named = [self.asking.named(order) for order in orders]
        for order in named:
            check_names(order, (each.name for each in attachments))
        job, journal = self._book.reserve(named, client, warnings), self._kept
        try:
            folder = journal.begin(job.id, attachments)
            for order in _but_seeds(named):
                _ = self.asking.request(order, folder)
            journal.write(job)
        except BaseException:
            self._book.give_up()
            journal.forget(job.id)
            raise
        return self._book.enter(job)

    def job(self, id: str) -> Job:
        """A job as it is now.

        Raises:
            NoSuchJobError: there is none, or its results' time is over.
        """
        return self._book.job(id)

    def jobs(self) -> tuple[Job, ...]:
        """All: those that wait in their order, then the one that is drawn, then those that are over, newest first."""
        return self._book.jobs()

    def cancel(self, id: str, *, keep: bool = False) -> Job:
        """Take a job out of the queue, or have it stop within a step if it is drawn; one that is over stays as it is.

        Args:
            id: of the job.
            keep: whether the picture that is drawn is kept as it stands, as the job's `unfinished`.

        Raises:
            NoSuchJobError: as `job`.
        """
        before = self._book.job(id)
        job = self._book.cancel(id, keep=keep)
        if before.state == "waiting" and job.is_over:
            self._kept.write(job)
        return job

    def skip(self, id: str) -> Job:
        """End the picture of this job that is drawn, within a step, and go on with its next.

        Raises:
            NoSuchJobError: as `job`.
        """
        return self._book.skip(id)

    def move(self, id: str, place: int) -> Job:
        """Move a job that waits to another place, 0 for the next to be drawn; any other stays as it is.

        Raises:
            NoSuchJobError: as `job`.
        """
        job = self._book.move(id, place)
        self._kept.write_order(self._book.waiting())
        return job

    def preview(self, id: str) -> Image.Image | None:
        """What the picture looks like that is drawn, if it is this job's; made now, of its last step.

        Raises:
            NoSuchJobError: as `job`.
        """
        _ = self._book.job(id)
        begun = self._worker and self._worker.begun(id)
        return begun.preview() if begun else None

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """Wait until a job is over, or the time is, or the desk is closed, and give it as it is then.

        Raises:
            NoSuchJobError: as `job`.
        """
        return self._book.wait(id, timeout)

    def watch(self, id: str | None = None) -> Watch:
        """Watch a job, or all, as `Watch` tells.

        Raises:
            NoSuchJobError: as `job`.
        """
        ids = [each.id for each in self.jobs()] if id is None else [self.job(id).id]
        return self._watches.open(id, ids, self._book.job)

    @property
    def is_open(self) -> bool:
        """Whether it is started, and not closed."""
        return self._worker is not None and not self._book.closed

    @property
    def waiting(self) -> int:
        """How many jobs are in the queue."""
        return len(self._book.waiting())

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded."""
        return self._worker is not None and self._worker.loaded is not None

    @property
    def loaded(self) -> str | None:
        """The name of the model that is loaded; None while there is none."""
        choice = self._worker and self._worker.loaded
        if choice is None:
            return None
        if self._named is None or self._named[0] != choice:  # folders are looked through to find it
            with suppress(OrderError):
                self._named = choice, self.models.name_of(choice.model)
        return self._named[1] if self._named and self._named[0] == choice else None

    @property
    def _kept(self) -> Journal:
        if self._journal is None:
            raise RuntimeError("the desk is not started: call start(), or use it as a context manager")
        return self._journal


def _but_seeds(orders: Sequence[Order]) -> list[Order]:
    """One of all orders that differ in nothing but their seeds: what is wrong with one is wrong with all."""
    seen = dict[object, Order]()
    for order in orders:
        told = tuple((name, value) for name, value in order.values.items() if name != "seed")
        seen.setdefault(told, order)
    return [*seen.values()]
