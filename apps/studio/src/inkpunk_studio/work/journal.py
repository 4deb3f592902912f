"""The journal of jobs: a file each, so that whatever ends the studio, the next start goes on."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from inkpunk.orders.claims import Claims
from inkpunk.orders.order import Order

from inkpunk_studio.work.attachments import Attachment
from inkpunk_studio.work.job import Drawn, Job, Progress
from inkpunk_studio.work.writing import UNFINISHED, replace_json

VERSION = 1
THE_FOLDER = 0  # what is claimed of it
ID = re.compile(r"[0-9a-f]{32}")


class StateTakenError(Exception):
    """Another studio works with the same folder; the message says which, and what to do."""


class Journal:
    """Jobs in a folder: `jobs/ID/job.json`, and beside it the pictures that came with it.

    Each file is replaced whole, so that a process that is killed leaves the one before or the one after.
    Power that fails may lose what was written in the last seconds; a file that is no job any more is passed over.
    """

    def __init__(self, folder: Path, pictures: Path) -> None:
        """Open it, or make it.

        Args:
            folder: of the journal.
            pictures: that drawn ones are in.

        Raises:
            OSError: if that cannot be.
            StateTakenError: another process has it open, and would draw every job once more.
        """
        self._jobs, self._order, self._pictures = folder / "jobs", folder / "order.json", pictures
        self._jobs.mkdir(parents=True, exist_ok=True)
        self._claims = Claims(folder)
        if not self._claims.take(THE_FOLDER):
            self._claims.close()
            raise StateTakenError(f"{folder}: another studio works there; end it, or give another --state")
        for each in folder.glob(UNFINISHED):
            each.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others open it."""
        self._claims.close()

    def folder_of(self, id: str) -> Path:
        """A job's own folder."""
        return self._jobs / id

    def begin(self, id: str, attachments: Iterable[Attachment]) -> Path:
        """Make a job's folder, with the pictures that came with it."""
        folder = self.folder_of(id)
        folder.mkdir()
        for each in attachments:
            (folder / each.name).write_bytes(each.data)
        return folder

    def write(self, job: Job) -> None:
        """Write how a job is."""
        replace_json(self.folder_of(job.id) / "job.json", _told(job))

    def write_order(self, ids: Sequence[str]) -> None:
        """Write in which order jobs wait, after somebody has moved one."""
        replace_json(self._order, [*ids])

    def forget(self, id: str) -> None:
        """Delete a job and the pictures that came with it; not those that were drawn."""
        shutil.rmtree(self.folder_of(id), ignore_errors=True)

    def read(self) -> list[Job]:
        """All jobs, in the order in which they wait; folders of none are deleted."""
        found = list[Job]()
        for folder in self._jobs.iterdir():
            if not ID.fullmatch(folder.name):
                continue
            try:
                found.append(self._job(folder.name, json.loads((folder / "job.json").read_bytes())))
            except (OSError, ValueError, KeyError, TypeError):
                self.forget(folder.name)
        moved = list[str]()
        with suppress(OSError, ValueError, TypeError):
            moved = [str(each) for each in json.loads(self._order.read_bytes())]
        places = {id: place for place, id in enumerate(moved)}
        # one that was being drawn comes first
        return sorted(found, key=lambda job: (job.began is None, places.get(job.id, len(places)), job.id))

    def _job(self, id: str, told: Mapping[str, Any]) -> Job:
        orders = tuple(Order.read(each) for each in told["orders"])
        drawn = tuple(
            Drawn(
                order=int(each["order"]),
                path=self._pictures / Path(each["path"]).name,
                seed=int(each["seed"]),
                infotext=str(each["infotext"]),
                seconds=float(each["seconds"]),
            )
            for each in told["drawn"]
        )
        return Job(
            id=id,
            orders=orders,
            client=str(told["client"]),
            state=told["state"],
            place=None,
            progress=Progress(len(drawn) + len(told["skipped"]), len(orders)),
            drawn=drawn,
            warnings=tuple(map(str, told["warnings"])),
            error=told["error"],
            made=float(told["made"]),
            began=told["began"],
            ended=told["ended"],
            skipped=tuple(map(int, told["skipped"])),
            tries=int(told["tries"]),
        )


def _told(job: Job) -> dict[str, Any]:
    return {
        "version": VERSION,
        "orders": [dict(order.values) for order in job.orders],
        "client": job.client,
        "state": job.state,
        "drawn": [
            {
                "order": each.order,
                "path": each.path.name,
                "seed": each.seed,
                "infotext": each.infotext,
                "seconds": each.seconds,
            }
            for each in job.drawn
        ],
        "skipped": [*job.skipped],
        "warnings": [*job.warnings],
        "error": job.error,
        "made": job.made,
        "began": job.began,
        "ended": job.ended,
        "tries": job.tries,
    }
