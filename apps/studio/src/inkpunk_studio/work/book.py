"""The book of jobs: which wait, which one is drawn, what became of the others. It knows no file and no model."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from secrets import token_hex
from threading import Condition

from inkpunk.orders.order import Order

from inkpunk_studio.work.job import Drawn, Job, NoSuchJobError, Progress, State

USUAL_SECONDS = 5.0  # that a picture is thought to take before one was drawn


class QueueFullError(Exception):
    """The queue is full; the message says so, and `retry_after` in how many seconds there may be room."""

    def __init__(self, most: int, retry_after: float) -> None:
        super().__init__(f"the queue is full: {most} jobs wait; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Book:
    """Jobs by their ids. All of it may be called from any thread, and none of it takes time.

    Attributes:
        pace: seconds that a picture takes, of late.
    """

    def __init__(self, most_waiting: int, tell: Callable[[Sequence[str]], None]) -> None:
        """Open an empty book.

        Args:
            most_waiting: jobs that may wait.
            tell: is told the ids of jobs that changed.
        """
        self.pace: float | None = None
        self._most, self._tell = most_waiting, tell
        self._changed = Condition()
        self._jobs = dict[str, Job]()
        self._awaited = Counter[str]()  # how many wait for a job
        self._queue = list[str]()
        self._drawing: str | None = None
        self._skip = self._keep = False
        self._last = self._reserved = 0
        self._closed = False

    # -- what askers do

    def reserve(self, orders: Sequence[Order], client: str, warnings: Sequence[str]) -> Job:
        """Make a job and keep a place in the queue for it, until `enter` or `give_up`.

        Raises:
            QueueFullError: there is none.
        """
        with self._changed:
            if len(self._queue) + self._reserved >= self._most:
                raise QueueFullError(self._most, self._until_room())
            self._reserved += 1
            now = time.time()
            self._last = max(self._last + 1, int(now * 1_000_000))
            return Job(
                id=f"{self._last:014x}{token_hex(9)}",
                orders=tuple(orders),
                client=client,
                state="waiting",
                place=None,
                progress=Progress(0, len(orders)),
                drawn=(),
                warnings=tuple(warnings),
                error=None,
                made=now,
            )

    def give_up(self) -> None:
        """Give a reserved place back."""
        with self._changed:
            self._reserved -= 1

    def enter(self, job: Job) -> Job:
        """Lay a job for which a place was kept at the queue's end."""
        with self._changed:
            self._reserved -= 1
            self._jobs[job.id] = job
            self._queue.append(job.id)
            self._changed.notify_all()
            entered = self._snapshot(job)
        self._tell([job.id])
        return entered

    def restore(self, job: Job) -> None:
        """Take up a job of an earlier run: one that is over as it is, any other at the queue's end."""
        with self._changed:
            self._last = max(self._last, int(job.id[:14], 16))
            self._jobs[job.id] = job if job.is_over else replace(job, state="waiting", began=None)
            if not job.is_over:
                self._queue.append(job.id)

    def job(self, id: str) -> Job:
        """A job's snapshot.

        Raises:
            NoSuchJobError: there is none.
        """
        with self._changed:
            return self._snapshot(self._of(id))

    def jobs(self) -> tuple[Job, ...]:
        """All: those that wait in their order, then the one that is drawn, then those that are over, newest first."""
        with self._changed:
            drawing = [] if self._drawing is None else [self._drawing]
            over = sorted(
                (job for job in self._jobs.values() if job.is_over),
                key=lambda job: (job.ended or 0.0, job.id),
                reverse=True,
            )
            return (*(self._snapshot(self._jobs[id]) for id in (*self._queue, *drawing)), *over)

    def waiting(self) -> tuple[str, ...]:
        """The ids of those that wait, in their order."""
        with self._changed:
            return tuple(self._queue)

    def cancel(self, id: str, *, keep: bool = False) -> Job:
        """Take a job out of the queue, or have the one that is drawn stop; one that is over stays as it is.

        Args:
            id: of the job.
            keep: whether the picture that is drawn is kept as it stands.

        Raises:
            NoSuchJobError: there is none.
        """
        with self._changed:
            job = self._of(id)
            if job.state == "waiting":
                behind = self._queue[self._queue.index(id) :]
                self._queue.remove(id)
                self._jobs[id] = replace(job, state="cancelled", ended=time.time())
                self._changed.notify_all()
            elif job.state == "drawing":
                behind, self._keep = [id], keep
                self._jobs[id] = replace(job, stopping=True)
            else:
                behind = []
            snapshot = self._snapshot(self._jobs[id])
        self._tell(behind)
        return snapshot

    def skip(self, id: str) -> Job:
        """Have the picture that is drawn end, if it is one of this job's, and the job go on with its next.

        Raises:
            NoSuchJobError: there is none.
        """
        with self._changed:
            job = self._of(id)
            if id == self._drawing:
                self._skip = True
            return self._snapshot(job)

    def move(self, id: str, place: int) -> Job:
        """Move a job that waits to another place in the queue, 0 for the next; any other stays as it is.

        Raises:
            NoSuchJobError: there is none.
        """
        with self._changed:
            job = self._of(id)
            moved = job.state == "waiting"
            if moved:
                self._queue.remove(id)
                self._queue.insert(max(0, place), id)
            queue = [*self._queue] if moved else []
            snapshot = self._snapshot(job)
        self._tell(queue)
        return snapshot

    def wait(self, id: str, timeout: float | None) -> Job:
        """Wait until a job is over, or the book is closed, or the time is; and give it as it is then.

        Raises:
            NoSuchJobError: there is none.
        """
        with self._changed:
            self._of(id)
            self._awaited[id] += 1  # and is not forgotten meanwhile
            try:
                self._changed.wait_for(lambda: self._jobs[id].is_over or self._closed, timeout)
            finally:
                self._awaited[id] -= 1
            return self._snapshot(self._jobs[id])

    # -- what the worker does

    def take(self, timeout: float | None = None) -> Job | None:
        """Wait for a job to draw, and take it out of the queue; None when the time is over, or the book is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, timeout)
            if self._closed or not self._queue:
                return None
            id = self._queue.pop(0)
            self._drawing, self._skip, self._keep = id, False, False
            job = self._jobs[id] = replace(self._jobs[id], state="drawing", began=time.time())
            changed = [id, *self._queue]
        self._tell(changed)
        return job

    def advance(self, id: str, step: int, steps: int, seconds_a_step: float | None) -> None:
        """Note how far the picture is that is drawn."""
        with self._changed:
            job = self._of(id)
            pictures = job.progress.pictures - job.progress.picture - 1
            left = None
            if seconds_a_step is not None:
                left = seconds_a_step * (steps - step)
                left += pictures * (seconds_a_step * steps if self.pace is None else self.pace)
            progress = replace(job.progress, step=step, steps=steps, seconds_left=left)
            self._jobs[id] = replace(job, progress=progress)
        self._tell([id])

    def add(self, id: str, drawn: Drawn) -> Job:
        """Note a picture that is drawn and saved."""
        self.pace = drawn.seconds if self.pace is None else 0.7 * self.pace + 0.3 * drawn.seconds
        return self._picture_is_over(id, lambda job: replace(job, drawn=(*job.drawn, drawn)))

    def pass_over(self, id: str, order: int) -> Job:
        """Note a picture that was skipped."""
        return self._picture_is_over(id, lambda job: replace(job, skipped=(*job.skipped, order)))

    def _picture_is_over(self, id: str, changed: Callable[[Job], Job]) -> Job:
        with self._changed:
            job, self._skip = changed(self._of(id)), False
            progress = replace(
                job.progress, picture=len(job.orders) - len(job.undrawn), step=0, seconds_left=None
            )
            job = self._jobs[id] = replace(job, progress=progress)
        self._tell([id])
        return job

    def warn(self, id: str, line: str) -> None:
        """Tell a job's asker something."""
        with self._changed:
            job = self._of(id)
            if line not in job.warnings:
                self._jobs[id] = replace(job, warnings=(*job.warnings, line))

    def end(self, id: str, state: State, error: str | None = None) -> Job:
        """Note that the job that was drawn is over."""
        with self._changed:
            job = self._of(id)
            progress = replace(job.progress, step=0, steps=0, seconds_left=None)
            job = self._jobs[id] = replace(
                job, state=state, error=error, ended=time.time(), progress=progress, stopping=False
            )
            self._drawing = None
            self._changed.notify_all()
        self._tell([id])
        return job

    def stops(self, id: str) -> bool:
        """Whether the job that is drawn is asked to stop."""
        with self._changed:
            return self._of(id).stopping

    def keeps(self, id: str) -> bool:
        """Whether the picture of this job that is drawn is kept as it stands, where that is asked to stop."""
        with self._changed:
            return self._keep and id == self._drawing

    def keep(self, id: str, unfinished: Drawn) -> None:
        """Note the picture that a job was stopped in."""
        with self._changed:
            self._jobs[id] = replace(self._of(id), unfinished=unfinished)

    def skips(self, id: str) -> bool:
        """Whether the picture of this job that is drawn is to be skipped."""
        with self._changed:
            return self._skip and id == self._drawing

    @property
    def closed(self) -> bool:
        """Whether no more work is given out."""
        with self._changed:
            return self._closed

    def forget(self, before: float, most: int) -> list[str]:
        """Forget jobs that were over before a time, and the oldest of more than so many; give their ids."""
        with self._changed:
            self._awaited = +self._awaited  # without those that nobody waits for any more
            over = sorted(
                (job.ended or 0.0, id)
                for id, job in self._jobs.items()
                if job.is_over and id not in self._awaited
            )
            many = max(0, len(over) - most)
            gone = [id for place, (ended, id) in enumerate(over) if place < many or ended < before]
            for id in gone:
                del self._jobs[id]
        return gone

    def close(self) -> None:
        """Give out no more work, and let those who wait go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- within the lock

    def _of(self, id: str) -> Job:
        try:
            return self._jobs[id]
        except KeyError:
            raise NoSuchJobError(id) from None

    def _snapshot(self, job: Job) -> Job:
        return replace(job, place=self._queue.index(job.id)) if job.state == "waiting" else job

    def _until_room(self) -> float:
        """Seconds until the job that is drawn is likely to be over, and the next one leaves the queue."""
        pace = USUAL_SECONDS if self.pace is None else self.pace
        job = self._jobs.get(self._drawing or "")
        if job is None:
            return max(1.0, pace)
        left = job.progress.seconds_left
        pictures = job.progress.pictures - job.progress.picture
        return max(1.0, pictures * pace if left is None else left)
