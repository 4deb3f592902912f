"""A file of requests, as tasks: each order once, with what earlier runs tell of it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inkpunk.orders.files import Entry, read_orders
from inkpunk.orders.folder import in_words, key_of_text
from inkpunk.orders.naming import file_name
from inkpunk.orders.options import MODEL
from inkpunk.orders.tally import Tally, fingerprint

from inkpunk_fleet.rows import Past
from inkpunk_fleet.store import Store
from inkpunk_fleet.tasks import Task


@dataclass(frozen=True)
class Requests:
    """A file of requests and the folder that it is to fill: all that a reader needs, wherever it runs.

    Attributes:
        path: the file, on the machine where it is read.
        out: the folder, as `Store` takes it.
        parts: of the rows, those that were there when the run began.
        defaults, form: as of `inkpunk.orders.files.read_orders`.
        retry_failed: try those again that failed at an earlier time.
    """

    path: str
    out: str
    parts: tuple[str, ...] = ()
    defaults: Mapping[str, Any] | None = None
    form: str | None = None
    retry_failed: bool = False

    def tasks(self) -> Iterator[Task]:
        """Read the tasks, one at a time; the same ones in the same order however often they are read.

        An order that comes twice is one task, so that no two workers draw it at once.

        Raises:
            OrderError: as `read_orders`.
        """
        past, met = Past(Store(self.out), self.parts), Tally()
        for entry in read_orders(self.path, self.defaults, self.form):
            task = _task(entry)
            if not met.add(fingerprint(task.key)):
                yield self._with_past(task, past)

    def _with_past(self, task: Task, past: Past) -> Task:
        failed = past.has_failed(task.key)
        told = past.tells_of(task.key) if task.file else failed
        return Task(
            task.line, task.key, task.file, task.values, task.error, told, failed and not self.retry_failed
        )


def laid_together(tasks: Iterable[Task], most: int) -> Iterator[list[Task]]:
    """Lay tasks of one model together, as many as a worker takes at once, so that it seldom loads another."""
    waiting = dict[str, list[Task]]()
    for task in tasks:
        model = json.dumps({name: value for name, value in (task.values or {}).items() if name in MODEL})
        waiting.setdefault(model, []).append(task)
        if len(waiting[model]) == most:
            yield waiting.pop(model)
    yield from waiting.values()


def _task(entry: Entry) -> Task:
    if entry.order is None:
        return Task(entry.line, key_of_text(entry.text), None, None, entry.error)
    values = entry.order.values
    try:
        return Task(entry.line, entry.order.key, file_name(entry.order), values)
    except Exception as error:  # it names a file wrongly, or one that cannot be read
        key = key_of_text(json.dumps(dict(values), sort_keys=True))
        return Task(entry.line, key, None, values, in_words(error))
