"""Telling those who watch jobs: the newest state, and never more than a reader can take."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from threading import Lock
from types import TracebackType

from inkpunk_studio.work.job import Job, NoSuchJobError


class Watch:
    """Snapshots of a job, or of all, as they change: enter it, and iterate over it in an event loop.

        with desk.watch(job.id) as watch:
            async for job in watch: ...

    The first is how it is now. Of what changes while nobody reads, the newest alone is told; a job's last snapshot
    always is, and ends the watch on that job. A job whose results' time is over is not told any more.
    """

    def __init__(self, id: str | None, look: Callable[[str], Job], leave: Callable[["Watch"], None]) -> None:
        """Begin with nothing to tell; `Desk.watch` makes them.

        Args:
            id: of the job; None for all.
            look: gives a job's snapshot.
            leave: is called when nobody watches any more.
        """
        self._id, self._look, self._leave = id, look, leave
        self._changed = dict[str, None]()
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._closed = False

    def tell(self, ids: Iterable[str]) -> None:
        """Note that jobs have changed; from any thread, at once."""
        with self._lock:
            before = len(self._changed)
            self._changed.update((id, None) for id in ids if self._id in (None, id))
            if len(self._changed) == before and not self._closed:
                return
        self._rouse()

    def close(self) -> None:
        """End it: whoever iterates gets what is told already, and then the end."""
        with self._lock:
            self._closed = True
        self._rouse()

    def _rouse(self) -> None:
        with self._lock:
            loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self)

    async def __aiter__(self) -> AsyncIterator[Job]:
        wake = asyncio.Event()
        with self._lock:
            self._loop, self._wake = asyncio.get_running_loop(), wake
        while True:
            wake.clear()
            with self._lock:
                changed, self._changed = [*self._changed], {}
                closed = self._closed
            for id in changed:
                try:
                    job = self._look(id)
                except NoSuchJobError:
                    if id == self._id:
                        return
                    continue
                yield job
                if self._id is not None and job.is_over:
                    return
            if closed:
                return
            if not changed:
                await wake.wait()


class Watches:
    """All who watch."""

    def __init__(self) -> None:
        self._lock, self._watches = Lock(), set[Watch]()

    def open(self, id: str | None, ids: Iterable[str], look: Callable[[str], Job]) -> Watch:
        """A new watch, which begins by telling these jobs."""
        watch = Watch(id, look, self._leave)
        watch.tell(ids)
        with self._lock:
            self._watches.add(watch)
        return watch

    def tell(self, ids: Iterable[str]) -> None:
        """Tell all who watch any of these."""
        told = [*ids]
        with self._lock:
            watches = [*self._watches]
        for watch in watches:
            watch.tell(told)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            watches = [*self._watches]
        for watch in watches:
            watch.close()

    def _leave(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)
