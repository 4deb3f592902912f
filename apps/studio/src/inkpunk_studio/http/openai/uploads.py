"""The bodies of edits and variations: forms with files, or JSON with pictures in it, as clients send both."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from anyio import to_thread
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from inkpunk_studio.http.incoming import Incoming, read_bytes, read_text
from inkpunk_studio.http.openai.asking import Pictures
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.settings import Settings

MOST_FILES = 16  # OpenAI's
MOST_FIELDS = 200
IMAGES = ("image", "images")
PICTURES = (*IMAGES, "mask")

Of = TypeVar("Of", bound=BaseModel)


async def uploaded(request: Request, fields: type[Of], settings: Settings) -> tuple[Of, Pictures]:
    """Read a form, or JSON.

    Raises:
        Refusal: for a body of neither kind, without a picture, or with a field that cannot be.
        IncomingError: for a picture that cannot be taken.
    """
    body = await _body(request, settings)
    told = {name: value for name, value in body.items() if name not in PICTURES}
    try:
        read = fields.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise Refusal(400, f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}", param=name) from error
    return read, await _pictures(body, settings)


async def _pictures(body: Mapping[str, Any], settings: Settings) -> Pictures:
    images = [each for name in IMAGES for each in _row(body.get(name))]
    if not images:
        raise Refusal(400, "image: there is none; send the picture to begin from", param="image")
    if len(images) > MOST_FILES:
        raise Refusal(400, f"image: {len(images)} came; at most {MOST_FILES} are taken", param="image")
    masks = _row(body.get("mask"))
    if len(masks) > 1:
        raise Refusal(400, "mask: several came; send one", param="mask")
    first, *others = [await _incoming("image", each, settings) for each in images]
    mask = await _incoming("mask", masks[0], settings) if masks else None
    return Pictures((first, *others), mask)


async def _body(request: Request, settings: Settings) -> Mapping[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await _json(request)
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise Refusal(400, "the body is no form; send multipart/form-data with a file called image")
    form = await request.form(
        max_files=MOST_FILES + 1, max_fields=MOST_FIELDS, max_part_size=settings.most_body
    )
    try:
        read = dict[str, Any]()
        for name, value in form.multi_items():
            told: Any = await value.read() if isinstance(value, UploadFile) else value
            plain = name.removesuffix("[]")
            if plain in PICTURES or name != plain:
                read[plain] = [*read.get(plain, ()), told]
            else:
                read[plain] = told
        return read
    finally:
        await form.close()


async def _json(request: Request) -> Mapping[str, Any]:
    try:
        read = await request.json()
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is no JSON; send an object") from error
    if not isinstance(read, dict):
        raise Refusal(400, "the body is no JSON object; send one")
    return cast("Mapping[str, Any]", read)


def _row(value: object) -> list[object]:
    """One or several, as a list; an empty field is none."""
    if isinstance(value, list):
        return [each for each in cast("list[object]", value) if each not in (None, "")]
    return [] if value in (None, "") else [value]


async def _incoming(name: str, value: object, settings: Settings) -> Incoming:
    if isinstance(value, dict):  # OpenAI's JSON form
        value = cast("Mapping[str, object]", value).get("image_url")
    if isinstance(value, bytes):
        return await to_thread.run_sync(read_bytes, name, value)
    if isinstance(value, str):
        return await to_thread.run_sync(read_text, name, value, settings)
    raise Refusal(400, f"{name}: must be a file, or a picture in base64", param=name)
