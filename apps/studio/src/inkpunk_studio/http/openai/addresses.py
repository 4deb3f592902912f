"""The addresses of OpenAI's images API."""

from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from inkpunk_studio.http.events import EventStream, over, with_beats
from inkpunk_studio.http.openai import asking
from inkpunk_studio.http.openai.answers import Streaming, events, told_of, usual_quality
from inkpunk_studio.http.openai.fields import (
    DrawnFields,
    Edit,
    Fields,
    Generation,
    ImagesOut,
    ModelOut,
    ModelsOut,
    Variation,
)
from inkpunk_studio.http.openai.files import Files
from inkpunk_studio.http.openai.uploads import uploaded
from inkpunk_studio.http.options import Asked
from inkpunk_studio.http.outgoing import file_of
from inkpunk_studio.http.refusing import Refusal, Route, refusals
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk


def router(desk: Desk, settings: Settings) -> APIRouter:
    """The addresses, for a desk."""
    addresses = APIRouter(
        prefix="/v1",
        route_class=Route,
        tags=["openai"],
        responses=refusals(400, 404, 410, 413, 422, 429, 503),
    )
    files = Files(settings.keep_results, settings.most_results)

    async def answer(request: Request, fields: Fields, kind: str, asked: Asked) -> Response:
        job = await to_thread.run_sync(asked.submitted, desk, "openai")
        quality = usual_quality(fields) if isinstance(fields, DrawnFields) else "auto"
        if isinstance(fields, DrawnFields) and fields.stream:
            how = Streaming(kind, fields.partial_images or 0, quality)
            return EventStream(with_beats(events(desk, job, how)))
        job = await over(desk, job, request)

        def address(path: Path) -> str:
            return str(request.url_for("image_file", name=files.add(path)))

        told = await to_thread.run_sync(told_of, job, quality, address if asking.wants_url(fields) else None)
        return Response(told, media_type="application/json")

    @addresses.post("/images/generations", response_model=ImagesOut, openapi_extra=_streams())
    async def generations(request: Request, fields: Generation) -> Response:
        """Draw pictures from a prompt. All of inkpunk's options may stand in the body."""
        asked = await to_thread.run_sync(asking.generation, fields, desk.models, settings)
        return await answer(request, fields, "image_generation", asked)

    @addresses.post("/images/edits", response_model=ImagesOut, openapi_extra=_form(Edit, "mask"))
    async def edits(request: Request) -> Response:
        """Draw a picture anew, in whole or where `mask` (or, without one, the picture) is transparent."""
        fields, pictures = await uploaded(request, Edit, settings)
        asked = await to_thread.run_sync(asking.edit, fields, pictures, desk.models, settings)
        return await answer(request, fields, "image_edit", asked)

    @addresses.post("/images/variations", response_model=ImagesOut, openapi_extra=_form(Variation))
    async def variations(request: Request) -> Response:
        """Draw pictures like one."""
        fields, pictures = await uploaded(request, Variation, settings)
        asked = await to_thread.run_sync(asking.variation, fields, pictures.images[0], desk.models, settings)
        return await answer(request, fields, "image_variation", asked)

    @addresses.get("/images/files/{name}", response_class=Response)
    async def image_file(name: str) -> Response:
        """A picture that was asked for as `url`, for as long as results are kept; it needs no token."""
        path = files.path(name)
        try:
            if path is not None:
                return await file_of(path)
        except OSError:
            pass
        raise Refusal(404, "there is no such picture, or its address has expired")

    @addresses.get("/models")
    async def models() -> ModelsOut:
        """The models that can be chosen."""
        known = await to_thread.run_sync(desk.models.known)
        return ModelsOut(data=[ModelOut(id=each.name) for each in known])

    @addresses.get("/models/{name:path}")
    async def model(name: str) -> ModelOut:
        """One of them."""
        known = await to_thread.run_sync(desk.models.known)
        if name not in {each.name for each in known}:
            raise Refusal(404, f"model {name[:60]!r}: is not among those listed", code="model_not_found")
        return ModelOut(id=name)

    return addresses


def _streams() -> dict[str, Any]:
    """What OpenAPI is told of an answer that may be events."""
    return {"responses": {"200": {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}}


def _form(fields: type[BaseModel], *more: str) -> dict[str, Any]:
    """What OpenAPI is told of a form with pictures."""
    schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
    file = {"type": "string", "format": "binary"}
    properties = {**schema["properties"], "image": file, **dict.fromkeys(more, file)}
    schema |= {"properties": properties, "required": [*schema.get("required", ()), "image"]}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}},
        **_streams(),
    }
