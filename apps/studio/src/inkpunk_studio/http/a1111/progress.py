"""How far it is: the job that is drawn, or one that is asked for by its client's own id."""

import time
from collections import OrderedDict
from contextlib import suppress
from threading import Lock
from typing import Any

from inkpunk_studio.http.outgoing import base64_of, png_of
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError

CLIENT = "a1111"
MOST_TASKS = 1000


class Tasks:
    """The ids that clients gave their requests, the newest thousand."""

    def __init__(self) -> None:
        self._jobs, self._lock = OrderedDict[str, str](), Lock()

    def add(self, task: str | None, job: str) -> None:
        """Keep a job's id."""
        if task:
            with self._lock:
                self._jobs[task[:200]] = job
                while len(self._jobs) > MOST_TASKS:
                    self._jobs.popitem(last=False)

    def job(self, task: str) -> str:
        """The job of an id; of ours, itself."""
        with self._lock:
            return self._jobs.get(task[:200], task)

    def name(self, job: str) -> str:
        """What its client calls a job."""
        with self._lock:
            return next((task for task, known in self._jobs.items() if known == job), job)


def current(desk: Desk) -> Job | None:
    """The job that is drawn for clients of this API, or else the next that will be."""
    unfinished = [each for each in desk.jobs() if each.client == CLIENT and not each.is_over]
    drawing = [each for each in unfinished if each.state == "drawing"]
    return next(iter(drawing or unfinished), None)


def progress(desk: Desk, tasks: Tasks, task: str | None, *, preview: bool) -> dict[str, Any]:
    """Progress in AUTOMATIC1111's form: all zeros where there is nothing to draw. It blocks while a preview is made.

    Args:
        desk: that draws.
        tasks: ids of clients.
        task: the one that is asked for; None for whatever is drawn.
        preview: whether to make one.
    """
    job = current(desk)
    if task:
        try:
            job = desk.job(tasks.job(task))
        except NoSuchJobError:
            job = None
    image = None
    if preview and job is not None and job.state == "drawing":
        with suppress(NoSuchJobError):
            image = _in_base64(desk, job)
    return {
        "progress": 0.0 if job is None else job.progress.share,
        "eta_relative": 0.0 if job is None else job.progress.seconds_left or 0.0,
        "state": _state(job),
        "current_image": image,
        "textinfo": None if job is None or job.place is None else f"Waiting: {job.place} before it",
        "current_task": None if job is None else tasks.name(job.id),
    }


def _state(job: Job | None) -> dict[str, Any]:
    if job is None or job.is_over:
        pictures = 0 if job is None else job.progress.pictures
        return _told(job, count=0, number=pictures)
    return _told(job, count=job.progress.pictures, number=job.progress.picture)


def _told(job: Job | None, *, count: int, number: int) -> dict[str, Any]:
    began = None if job is None else job.began
    return {
        "skipped": job is not None and bool(job.skipped),
        "interrupted": job is not None and (job.stopping or job.state == "cancelled"),
        "stopping_generation": job is not None and job.stopping,
        "job": "" if count == 0 else f"Picture {number + 1} out of {count}",
        "job_count": count,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(began)) if began else "0",
        "job_no": number,
        "sampling_step": 0 if job is None or not count else job.progress.step,
        "sampling_steps": 0 if job is None or not count else job.progress.steps,
    }


def _in_base64(desk: Desk, job: Job) -> str | None:
    image = desk.preview(job.id)
    return None if image is None else base64_of(png_of(image))
