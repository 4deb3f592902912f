"""What is answered: a job's pictures in OpenAI's forms, at once or as they come."""

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from anyio import to_thread
from inkpunk.pictures.formats import FORMATS
from PIL import Image

from inkpunk_studio.http.events import error_event, event, give_up, unless_drawn
from inkpunk_studio.http.openai.fields import DrawnFields, ImageOut, ImagesOut, Usage
from inkpunk_studio.http.outgoing import base64_of
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Drawn, Job

PREVIEW_SHRINK = 8  # of a preview without a tiny autoencoder,
SMALL = 128  # which is at most so wide


@dataclass(frozen=True)
class Streaming:
    """How a job is told as it goes on.

    Attributes:
        kind: "image_generation" or "image_edit".
        partials: previews of each picture.
        quality: as it was asked for.
    """

    kind: str
    partials: int
    quality: str


def told_of(job: Job, quality: str | None, address: Callable[[Path], str] | None) -> str:
    """A job's pictures, as JSON. It blocks while it reads them.

    Args:
        job: that is over.
        quality: as it was asked for.
        address: gives a picture an address; None for base64.

    Raises:
        Refusal: it has none.
    """
    if refusal := unless_drawn(job):
        raise refusal
    try:
        data = [_image(drawn, address) for drawn in job.drawn]
        size = _size(job.drawn[0].path)
    except OSError as error:
        raise Refusal(410, "a picture was deleted as soon as it was drawn") from error
    told = ImagesOut(
        created=int(job.made),
        data=data,
        output_format=job.orders[0].form,
        quality=quality,
        size=size,
        job=job.id,
        warnings=[*job.warnings],
    )
    return told.model_dump_json(exclude_none=True)


async def events(desk: Desk, job: Job, how: Streaming) -> AsyncGenerator[str]:
    """A job's previews and pictures as OpenAI's events, as they come; it is cancelled where nobody reads them."""
    told, partial = 0, _Partials(how.partials)
    try:
        with desk.watch(job.id) as watch:
            async for now in watch:
                job = now
                for drawn in job.drawn[told:]:
                    yield await to_thread.run_sync(_completed, job, drawn, how)
                told = len(job.drawn)
                if (index := partial.due(job)) is not None:
                    shown = await to_thread.run_sync(desk.preview, job.id)
                    if shown is not None:
                        yield await to_thread.run_sync(_partial, job, shown, index, how)
        if (refusal := unless_drawn(job)) and not told:
            yield error_event(refusal)
    except Refusal as refusal:
        yield error_event(refusal)
    finally:
        if not job.is_over:
            give_up(desk, job.id)


class _Partials:
    """Which of a picture's previews is due, at even parts of its steps."""

    def __init__(self, wanted: int) -> None:
        self._wanted, self._picture, self._told = wanted, 0, 0

    def due(self, job: Job) -> int | None:
        """The index of the preview that is due now; None for none."""
        progress = job.progress
        if progress.picture != self._picture:
            self._picture, self._told = progress.picture, 0
        if job.state != "drawing" or not 0 < progress.step < progress.steps or self._told >= self._wanted:
            return None
        if progress.step / progress.steps < (self._told + 1) / (self._wanted + 1):
            return None
        self._told += 1
        return self._told - 1


def usual_quality(fields: DrawnFields) -> str:
    """The quality as OpenAI's answers have it."""
    return fields.quality if isinstance(fields.quality, str) else "auto"


def _image(drawn: Drawn, address: Callable[[Path], str] | None) -> ImageOut:
    told: dict[str, Any] = {"seed": drawn.seed, "infotext": drawn.infotext}
    if address is not None:
        return ImageOut(url=address(drawn.path), **told)
    return ImageOut(b64_json=base64_of(drawn.path.read_bytes()), **told)


def _completed(job: Job, drawn: Drawn, how: Streaming) -> str:
    try:
        data, size = drawn.path.read_bytes(), _size(drawn.path)
    except OSError as error:
        raise Refusal(410, "a picture was deleted as soon as it was drawn") from error
    told = _told(f"{how.kind}.completed", job, base64_of(data), size, how)
    more = {"usage": Usage().model_dump(), "seed": drawn.seed, "infotext": drawn.infotext, "job": job.id}
    return event(told["type"], told | more | {"warnings": [*job.warnings]})


def _partial(job: Job, shown: Image.Image, index: int, how: Streaming) -> str:
    order = job.orders[min(job.progress.picture, len(job.orders) - 1)]
    width = order.values.get("width")
    if not isinstance(width, int):
        width = shown.width * (PREVIEW_SHRINK if shown.width <= SMALL else 1)
    if width != shown.width:
        shown = shown.resize((width, round(shown.height * width / shown.width)), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    shown.save(buffer, format=FORMATS[order.form])
    kind = f"{how.kind}.partial_image"
    told = _told(kind, job, base64_of(buffer.getvalue()), f"{shown.width}x{shown.height}", how)
    return event(kind, told | {"partial_image_index": index})


def _told(kind: str, job: Job, data: str, size: str, how: Streaming) -> dict[str, Any]:
    return {
        "type": kind,
        "b64_json": data,
        "created_at": int(time.time()),
        "size": size,
        "quality": how.quality,
        "background": "opaque",
        "output_format": job.orders[0].form,
    }


def _size(path: Path) -> str:
    with Image.open(path) as image:
        return f"{image.width}x{image.height}"
