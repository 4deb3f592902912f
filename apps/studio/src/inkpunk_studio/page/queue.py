"""The tab Queue: what waits and what is drawn, in which order; each can be moved or cancelled."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from typing import Any, TypeAlias

import gradio as gr

from inkpunk_studio.page.drawing import AT_ONCE
from inkpunk_studio.page.shared import DRAWING, EDITING, GRID, QUEUE, TYPING, opens, stays
from inkpunk_studio.page.stage import said
from inkpunk_studio.page.turns import Turns
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError

PAUSE = 0.3  # seconds between two changes of what is seen
ENDED_SHOWN = 8
WORDS = 90  # characters of a prompt that are shown
WHO = {
    DRAWING: "Draw",
    EDITING: "Edit",
    GRID: "Grids",
    TYPING: "as you typed",
    "openai": "OpenAI",
    "a1111": "A1111",
    "jobs": "a program",
}
STATES: Mapping[str, str] = {
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Stopped",
    "drawing": "Drawing",
}
PRESSED = """element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("click", {job: button.dataset.job, act: button.dataset.act});
});"""
EMPTY = '<div class="stage empty"><p>The queue is empty.</p></div>'

Seen: TypeAlias = tuple[Any, Any]
"""What becomes of the line that says how far it is, and of the list."""


def queue_tab(desk: Desk, tabs: gr.Tabs) -> None:
    """Fill the tab Queue.

    Args:
        desk: whose queue it is.
        tabs: all of the page: the list is told of changes while it is open.
    """
    turns = Turns()
    now = gr.HTML(elem_classes="now")
    jobs = gr.HTML(EMPTY, js_on_load=PRESSED, elem_id="queue")

    async def look(request: gr.Request, chosen: gr.SelectData) -> AsyncIterator[Seen]:
        turn = turns.take(request.session_hash)
        before = seen(desk)
        yield before
        if not opens(chosen, QUEUE):
            return
        with desk.watch() as watch:
            async for _ in watch:
                if not turns.is_newest(turn):
                    return
                after = seen(desk)
                if after != before:
                    # the list stays where it can: its buttons shall not flee from who presses them
                    yield after[0], after[1] if after[1] != before[1] else stays()
                    before = after
                    await asyncio.sleep(PAUSE)

    def press(event: gr.EventData) -> Seen:
        with suppress(NoSuchJobError):  # it ended meanwhile, and its results' time as well
            act(desk, str(event.act), str(event.job))
        return seen(desk)

    tabs.select(
        look, None, [now, jobs], show_progress="hidden", trigger_mode="multiple", concurrency_limit=None
    )
    jobs.click(press, None, [now, jobs], **AT_ONCE)


def seen(desk: Desk) -> Seen:
    """What is seen of a desk's jobs."""
    jobs = desk.jobs()
    return how_far(jobs), listed(jobs)


def act(desk: Desk, how: str, id: str) -> None:
    """Do what a button of a job says.

    Raises:
        NoSuchJobError: there is no such job any more.
    """
    place = desk.job(id).place
    if how == "cancel":
        desk.cancel(id)
    elif place is not None and how == "sooner":
        desk.move(id, max(0, place - 1))
    elif place is not None and how == "later":
        desk.move(id, place + 1)


def how_far(jobs: Sequence[Job]) -> str:
    """How far the job is that is drawn."""
    return "".join(f"<p>{escape(said(job))}</p>" for job in jobs if job.state == "drawing")


def listed(jobs: Sequence[Job]) -> str:
    """The job that is drawn, those that wait, and the newest of those that are over."""
    waiting = [job for job in jobs if job.state == "waiting"]
    drawing = [job for job in jobs if job.state == "drawing"]
    over = [job for job in jobs if job.is_over and job.client != TYPING][:ENDED_SHOWN]
    rows = "".join(_row(job, len(waiting)) for job in (*drawing, *waiting, *over))
    return f'<ol class="jobs">{rows}</ol>' if rows else EMPTY


def _row(job: Job, waiting: int) -> str:
    about, place = _about(job), job.place
    state = said(job) if place is not None else STATES[job.state]
    buttons = ""
    if place:
        buttons += _button(job, "sooner", about)
    if place is not None and place < waiting - 1:
        buttons += _button(job, "later", about)
    if not job.is_over:
        buttons += _button(job, "cancel", about)
    error = f'<p class="problem">{escape(job.error)}</p>' if job.error else ""
    return (
        f'<li class="job {job.state}"><div><b>{escape(state)}</b><p>{about}</p>{error}</div>'
        f"<div>{buttons}</div></li>"
    )


def _button(job: Job, how: str, about: str) -> str:
    return (
        f'<button type="button" data-job="{job.id}" data-act="{how}" aria-label="{how.capitalize()}: {about}">'
        f"{how.capitalize()}</button>"
    )


def _about(job: Job) -> str:
    prompt = str(job.orders[0].values.get("prompt", "")).strip() or "without a prompt"
    short = prompt if len(prompt) <= WORDS else prompt[: WORDS - 1] + "…"
    many = f" · {len(job.orders)} pictures" if len(job.orders) > 1 else ""
    return escape(f"{short} · {WHO.get(job.client, job.client)}{many}", quote=True)
