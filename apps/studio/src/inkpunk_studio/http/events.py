"""Telling clients of a job as it goes on: by an answer at its end, or by server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from inkpunk_studio.http.refusing import Refusal, body_of
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError

BEAT_SECONDS = 15.0
"""After which a stream that has nothing to tell says so: proxies close what is silent for a minute."""
BEAT = ": still here\n\n"
STEERERS = 4
"""Threads of those who cancel and move, apart from all others: they wait for no burst of requests to be read."""
LEFT = 499
"""The status that others log for a client that has left; nobody reads it."""


class EventStream(StreamingResponse):
    """Server-sent events; the generator that makes them is closed as soon as its reader leaves."""

    def __init__(self, events: AsyncGenerator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events

    async def stream_response(self, send: Send) -> None:
        """Send them."""
        async with aclosing(self._events):
            await super().stream_response(send)


def event(name: str, data: Mapping[str, Any]) -> str:
    """A server-sent event of JSON."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def error_event(refusal: Refusal) -> str:
    """A refusal that comes when the answer has begun."""
    return event("error", body_of(refusal))


async def with_beats(events: AsyncGenerator[str], seconds: float = BEAT_SECONDS) -> AsyncGenerator[str]:
    """Events, and between them a sign of life now and then."""
    async with aclosing(events):
        coming: asyncio.Task[str] | None = None
        try:
            while True:
                coming = coming or asyncio.ensure_future(_next(events))
                done, _ = await asyncio.wait({coming}, timeout=seconds)
                if not done:
                    yield BEAT
                    continue
                try:
                    told = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield told
        finally:
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await coming


async def _next(events: AsyncIterator[str]) -> str:
    return await anext(events)


async def over(desk: Desk, job: Job, request: Request) -> Job:
    """Wait until a job is over; it is cancelled where its asker leaves before.

    Raises:
        Refusal: the asker has left, or the job is not there any more.
    """
    ending = asyncio.ensure_future(_last(desk, job))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            raise Refusal(LEFT, "who asked has left")
        return ending.result()
    finally:
        leaving.cancel()
        if not ending.done():
            ending.cancel()
            give_up(desk, job.id)


def give_up(desk: Desk, id: str) -> None:
    """Cancel a job that nobody waits for any more, if it is not over or gone."""
    with suppress(NoSuchJobError):
        desk.cancel(id)


def unless_drawn(job: Job) -> Refusal | None:
    """Why a job that is over has no pictures to give; None if it has them."""
    match job.state:
        case "failed":
            return Refusal(422, job.error or "it could not be drawn", code="drawing_failed")
        case "cancelled":
            return Refusal(422, "it was cancelled", code="cancelled")
        case "done":
            return None if job.drawn else Refusal(422, "all its pictures were skipped", code="cancelled")
        case _:
            return Refusal(503, "the studio is being ended; ask again later")


async def _last(desk: Desk, job: Job) -> Job:
    with desk.watch(job.id) as watch:
        async for now in watch:
            job = now
    return job


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
