"""A job, followed to its end: what the stage shows, as often as an eye can tell it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from inkpunk_studio.page.stage import stage
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job, NoSuchJobError

PAUSE = 0.12  # seconds between two pictures of the stage: eight a second look alive, and cost next to nothing


async def follow(desk: Desk, id: str, goes_on: Callable[[], bool]) -> AsyncIterator[tuple[Job, str]]:
    """Follow a job until it is over, or nobody looks any more.

    Args:
        desk: that has it.
        id: of the job.
        goes_on: asked before anything is shown.
    """
    try:
        with desk.watch(id) as watch:
            async for job in watch:
                begun = time.monotonic()
                if not goes_on():
                    return
                preview = await asyncio.to_thread(desk.preview, id) if job.state == "drawing" else None
                yield job, stage(job, preview)
                if job.is_over:
                    return
                await asyncio.sleep(max(0.0, PAUSE - (time.monotonic() - begun)))
    except NoSuchJobError:
        return
