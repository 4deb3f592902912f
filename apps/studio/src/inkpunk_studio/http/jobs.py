"""Inkpunk's own addresses: jobs with a place in the queue, and events of what becomes of them.

    POST /jobs {"orders": [{"prompt": "a raven", "seed": 7, "steps": 30}]}   options of `inkpunk generate`
    GET  /jobs/ID/events                                                     server-sent, until it is over
    GET  /jobs/ID/pictures/0                                                 its first picture

A job goes on when its asker leaves; it is cancelled by whoever says so.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from fastapi import Path as InPath
from inkpunk.orders.values import OrderError
from pydantic import BaseModel, Field, TypeAdapter

from inkpunk_studio.http.events import STEERERS, EventStream, event, with_beats
from inkpunk_studio.http.options import Asked, asked
from inkpunk_studio.http.outgoing import MEDIA, file_of, png_of
from inkpunk_studio.http.refusing import Refusal, Route, refusals
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.events import Watch
from inkpunk_studio.work.job import Drawn, Job, State

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA}}
}
WHOLE = 2**53  # what JSON's readers hold exactly


class JobIn(BaseModel):
    """What a job shall draw.

    Attributes:
        orders: options of `inkpunk generate` by their names. A picture, where one names it, stands there in base64 or
            as a data URI; `control`, `hint`, `image-prompt` and `region` take objects, too, as {"kind": "canny",
            "picture": "iVBOR...", "weight": 0.9, "end": 0.6}.
        count: how many pictures of each, whose seeds count on.
    """

    orders: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, examples=[[{"prompt": "nvinkpunk raven", "seed": 7, "steps": 20}]]),
    ]
    count: Annotated[int, Field(ge=1)] = 1


class Move(BaseModel):
    """Where a job shall wait.

    Attributes:
        place: 0 for the next to be drawn.
    """

    place: Annotated[int, Field(ge=0, le=WHOLE)]


class ProgressOut(BaseModel):
    """How far a job is.

    Attributes:
        picture, pictures: how many are done, of how many.
        step, steps: of the one that is being drawn.
        share: of the whole, 0 to 1.
        seconds_left: until all are done; null while that cannot be told.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    share: float
    seconds_left: float | None


class DrawnOut(BaseModel):
    """A picture that was drawn.

    Attributes:
        order: which of the job's orders, from 0.
        url: where it is, for as long as the job is kept.
        seed: that draws it again.
        infotext: its recipe, as AUTOMATIC1111 writes it.
        seconds: that it took.
    """

    order: int
    url: str
    seed: int
    infotext: str
    seconds: float


class JobOut(BaseModel):
    """A job as it is now.

    Attributes:
        id: by which it is asked for.
        state: what becomes of it.
        place: in the queue, 0 for the next; null unless it waits.
        client: through which address it came.
        progress: how far it is.
        drawn: its pictures, as they come.
        warnings: what its asker should know.
        error: why it failed.
        made, began, ended: Unix seconds.
    """

    id: str
    state: State
    place: int | None
    client: str
    progress: ProgressOut
    drawn: list[DrawnOut]
    warnings: list[str]
    error: str | None
    made: float
    began: float | None
    ended: float | None


JOBS = TypeAdapter(list[JobOut])
Id = Annotated[str, InPath(max_length=100)]


def router(desk: Desk, settings: Settings) -> APIRouter:
    """The addresses, for a desk."""
    addresses = APIRouter(
        prefix="/jobs", route_class=Route, tags=["jobs"], responses=refusals(400, 404, 413, 429)
    )

    steering = CapacityLimiter(STEERERS)

    @addresses.post("", status_code=202)
    async def submit(body: JobIn, response: Response) -> JobOut:
        """Ask for pictures; the answer comes at once, with the job's place in the queue."""
        read = await to_thread.run_sync(_asked, body, settings)
        job = await to_thread.run_sync(read.submitted, desk, "jobs")
        response.headers["Location"] = f"/jobs/{job.id}"
        return told(job)

    @addresses.get("", response_model=list[JobOut])
    async def jobs() -> Response:
        """All: those that wait in their order, the one that is drawn, and what is over, newest first."""
        return Response(await to_thread.run_sync(_all_told, desk), media_type="application/json")

    @addresses.get("/events", response_class=Response, responses=EVENTS)
    async def all_events() -> Response:
        """Events of all jobs, each with a job as it is then; it does not end."""
        return EventStream(with_beats(_events(desk.watch())))

    @addresses.get("/{id}")
    async def job(id: Id) -> JobOut:
        """A job as it is now."""
        return told(desk.job(id))

    @addresses.get("/{id}/events", response_class=Response, responses=EVENTS)
    async def events(id: Id) -> Response:
        """Events of a job, the first with how it is now; they end when it is over."""
        return EventStream(with_beats(_events(desk.watch(id))))

    @addresses.get("/{id}/preview", response_class=Response, responses={**FILES, 204: {}})
    async def preview(id: Id) -> Response:
        """What the picture looks like that is being drawn, as PNG; 204 while there is none."""
        data = await to_thread.run_sync(_preview, desk, id)
        return Response(data, media_type="image/png") if data else Response(status_code=204)

    @addresses.get("/{id}/pictures/{index}", response_class=Response, responses=FILES)
    async def picture(id: Id, index: Annotated[int, InPath(ge=0, le=WHOLE)]) -> Response:
        """The picture of one of a job's orders, by its place from 0, with its recipe in it."""
        path = _path(desk.job(id), index)
        try:
            return await file_of(path)
        except OSError as error:
            raise Refusal(404, f"picture {index}: was deleted from the gallery") from error

    @addresses.post("/{id}/cancel")
    async def cancel(id: Id) -> JobOut:
        """Take a job out of the queue, or have it stop within a step; what is drawn of it stays."""
        return told(await to_thread.run_sync(desk.cancel, id, limiter=steering))

    @addresses.post("/{id}/skip")
    async def skip(id: Id) -> JobOut:
        """End the picture that is being drawn, and go on with the job's next."""
        return told(desk.skip(id))

    @addresses.post("/{id}/move")
    async def move(id: Id, body: Move) -> JobOut:
        """Move a job that waits to another place in the queue."""
        return told(await to_thread.run_sync(desk.move, id, body.place, limiter=steering))

    return addresses


def told(job: Job) -> JobOut:
    """A job as it is told."""
    progress = job.progress
    return JobOut(
        id=job.id,
        state=job.state,
        place=job.place,
        client=job.client,
        progress=ProgressOut(
            picture=progress.picture,
            pictures=progress.pictures,
            step=progress.step,
            steps=progress.steps,
            share=progress.share,
            seconds_left=progress.seconds_left,
        ),
        drawn=[_drawn(job.id, each) for each in job.drawn],
        warnings=[*job.warnings],
        error=job.error,
        made=job.made,
        began=job.began,
        ended=job.ended,
    )


def _all_told(desk: Desk) -> bytes:
    return JOBS.dump_json([told(each) for each in desk.jobs()])


def _asked(body: JobIn, settings: Settings) -> Asked:
    pictures = len(body.orders) * body.count
    if pictures > settings.most_pictures:
        raise OrderError(f"{pictures} pictures: must be 1 to {settings.most_pictures} at once")
    read = [asked(each, body.count, settings) for each in body.orders]
    return Asked(
        tuple(order for each in read for order in each.orders),
        tuple({one.name: one for each in read for one in each.attachments}.values()),
        tuple(dict.fromkeys(line for each in read for line in each.warnings)),
    )


async def _events(watch: Watch) -> AsyncGenerator[str]:
    with watch:
        async for job in watch:
            yield event("job", told(job).model_dump())


def _drawn(id: str, drawn: Drawn) -> DrawnOut:
    return DrawnOut(
        order=drawn.order,
        url=f"/jobs/{id}/pictures/{drawn.order}",
        seed=drawn.seed,
        infotext=drawn.infotext,
        seconds=drawn.seconds,
    )


def _path(job: Job, index: int) -> Path:
    found = next((each.path for each in job.drawn if each.order == index), None)
    if found is None:
        raise Refusal(404, f"picture {index}: is not drawn")
    return found


def _preview(desk: Desk, id: str) -> bytes | None:
    shown = desk.preview(id)
    return None if shown is None else png_of(shown)
