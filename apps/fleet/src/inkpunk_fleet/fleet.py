"""A run from beginning to end: read, draw on Ray, and keep the rows."""

import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from inkpunk.orders.manifest import Row

from inkpunk_fleet.reading import Requests
from inkpunk_fleet.rows import parts, write_part
from inkpunk_fleet.running import Crew, draw_on_ray
from inkpunk_fleet.store import Store, StoreError
from inkpunk_fleet.tasks import Outcome

ROWS = 10_000  # in a part, at most
SECONDS = 60.0  # until rows that are told become a part, at most


def run(
    path: str | Path,
    out: str,
    crew: Crew | None = None,
    *,
    address: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    form: str | None = None,
    retry_failed: bool = False,
) -> Generator[Outcome]:
    """Draw a file of requests by a fleet into a folder, and tell what became of each.

    Args:
        path: the file, as `inkpunk batch` takes it.
        out: a folder that all workers see, or an object store's URL.
        crew: the workers; None for as many as the cluster has room for.
        address: of a running Ray cluster; None for one on this machine, which ends with the run.
        defaults, form: as of `inkpunk.orders.files.read_orders`.
        retry_failed: try those again that failed at an earlier time.

    Raises:
        FleetError: if the cluster cannot be joined, or has no room for a worker.
        OrderError: as `read_orders`.
        StoreError: if the folder cannot be written any more. What is done stays, and the same call goes on.
    """
    store = Store(out)
    requests = Requests(
        str(Path(path).absolute()), store.url, tuple(parts(store)), defaults, form, retry_failed
    )
    with closing(draw_on_ray(requests, crew or Crew(), address)) as outcomes:
        yield from kept(outcomes, store)


def kept(outcomes: Iterable[Outcome], store: Store) -> Generator[Outcome]:
    """Keep the rows of outcomes in parts, and pass the outcomes on.

    The driver alone writes rows, so that none comes twice. Those that a kill loses are of `SECONDS` at most; the
    next run adds them as it meets the pictures.

    Raises:
        StoreError: for a worker that cannot save, or rows that cannot be written.
    """
    waiting, since = list[Row](), time.monotonic()
    try:
        for outcome in outcomes:
            if outcome.state == "stuck":
                raise StoreError(outcome.error)
            if outcome.row:
                waiting.append(outcome.row)
            if len(waiting) >= ROWS or (waiting and time.monotonic() - since > SECONDS):
                write_part(store, waiting)
                waiting, since = [], time.monotonic()
            yield outcome
        if waiting:
            write_part(store, waiting)
            waiting = []
    finally:
        if waiting:  # stopped on the way; why is on its way to the caller
            with suppress(StoreError):
                write_part(store, waiting)
