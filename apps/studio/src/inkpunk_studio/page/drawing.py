"""What both Draw and Edit do with an asking: submit it, follow it, stop it, pick it up again."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias

import gradio as gr
from inkpunk.orders.order import Order

from inkpunk_studio.page.following import follow
from inkpunk_studio.page.shared import DRAWING, stays
from inkpunk_studio.page.stage import problem, said, stage
from inkpunk_studio.page.turns import Turn, Turns
from inkpunk_studio.work.attachments import Attachment
from inkpunk_studio.work.book import QueueFullError
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Drawn, Job, NoSuchJobError

REMEMBERED = 50  # jobs that a browser knows again: more than one looks through, and few to ask for
REFUSED = (ValueError, QueueFullError)
"""What asking for a picture raises where it cannot be drawn."""

QUIET: Mapping[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", "concurrency_limit": None}
"""How events are followed that show how far they are themselves."""
AT_ONCE: Mapping[str, Any] = {"queue": False, "show_progress": "hidden"}
"""How events are followed that take no time."""

Shown: TypeAlias = tuple[Any, ...]
"""What becomes of `Stage.outputs`."""


@dataclass(frozen=True)
class Stage:
    """The place where a tab's picture comes, and what is known of it.

    Attributes:
        picture: what is seen.
        status: what a screen reader says.
        current: the id of the job that is shown.
        jobs: those that this browser asked for.
        client: as whom it asks.
        turns: whose turn it is.
    """

    picture: gr.HTML
    status: gr.HTML
    current: gr.State
    jobs: gr.BrowserState
    client: str = DRAWING
    turns: Turns = field(default_factory=Turns)

    @classmethod
    def make(cls, name: str, jobs: gr.BrowserState, client: str = DRAWING, empty: str = "") -> "Stage":
        """Put one where the page is being built.

        Args:
            name: of it, within the page.
            jobs: those that this browser asked for.
            client: as whom it asks.
            empty: what is seen before anything was asked for.
        """
        return cls(
            gr.HTML(empty, elem_id=f"{name}-stage", elem_classes="stage-box"),
            gr.HTML(_status(""), elem_classes="unseen"),
            gr.State(None),
            jobs,
            client,
        )

    @property
    def outputs(self) -> list[Any]:
        """What an event that draws changes."""
        return [self.picture, self.status, self.current, self.jobs]

    async def drawn(
        self,
        desk: Desk,
        turn: Turn,
        known: Sequence[str],
        orders: Sequence[Order],
        attachments: Sequence[Attachment] = (),
        *,
        client: str | None = None,
    ) -> AsyncIterator[Shown]:
        """Ask for pictures, and show them as they come, while it is the asking's turn."""
        try:
            job = await asyncio.to_thread(
                desk.submit, orders, client=client or self.client, attachments=attachments
            )
        except REFUSED as error:
            yield self.refused(error)
            return
        yield stage(job), _status(said(job)), job.id, [*known, job.id][-REMEMBERED:]
        async for shown in self.followed(desk, turn, job):
            yield shown

    async def followed(self, desk: Desk, turn: Turn, job: Job) -> AsyncIterator[Shown]:
        """Show a job as it goes on, while it is the asking's turn."""
        before = job.state
        async for now, html in follow(desk, job.id, lambda: self.turns.is_newest(turn)):
            status = stays() if now.state == before else _status(said(now))
            before = now.state
            yield html, status, stays(), stays()

    def refused(self, error: Exception) -> Shown:
        """Show why nothing is drawn."""
        return problem(str(error)), _status(str(error)), None, stays()

    def at_rest(self, job: Job) -> Shown:
        """Show a job as it is, once."""
        return stage(job), _status(said(job)), job.id, stays()


def latest(desk: Desk, known: Sequence[str], client: str = DRAWING) -> Job | None:
    """The job that a reopened page shows: the first of its unfinished ones, else its newest."""
    there = list[Job]()
    for id in known:
        try:
            there.append(desk.job(id))
        except NoSuchJobError:
            continue
    mine = [job for job in there if job.client == client]
    return next((job for job in mine if not job.is_over), mine[-1] if mine else None)


def stop(desk: Desk, current: str | None) -> None:
    """Stop the job that is shown; one that is over stays as it is."""
    with suppress(NoSuchJobError):
        desk.cancel(current or "")


def forget(desk: Desk, id: str | None) -> None:
    """Take what a job drew out of the gallery: somebody has typed on.

    Called when another picture stands in its place, as a page that is still fetching it would complain.
    """
    for each in _pictures(desk, id):
        each.path.unlink(missing_ok=True)


def seed_of(desk: Desk, id: str | None) -> str:
    """The seed of a job's last picture; "" where there is none."""
    drawn = _pictures(desk, id)
    return str(drawn[-1].seed) if drawn else ""


def drawn_picture(desk: Desk, id: str | None) -> Any:
    """A job's last picture, as an editor takes it; nothing changes where there is none."""
    drawn = _pictures(desk, id)
    return str(drawn[-1].path) if drawn else stays()


def _pictures(desk: Desk, id: str | None) -> tuple[Drawn, ...]:
    """What a job has drawn; nothing of one that is not there any more."""
    with suppress(NoSuchJobError):
        return desk.job(id or "").drawn
    return ()


def _status(text: str) -> str:
    return f'<p role="status">{escape(text)}</p>'
