"""From OpenAI's fields to what inkpunk is asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inkpunk.orders.values import OrderError
from PIL import Image, ImageOps

from inkpunk_studio.http.incoming import Incoming
from inkpunk_studio.http.openai.fields import DrawnFields, Edit, Fields, Generation, Variation
from inkpunk_studio.http.options import Asked, asked
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.models import Models

SIDE_MULTIPLE = 8
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
OPENAI_MODEL = re.compile(r"(dall-e|gpt-image|chatgpt-image)-.*")
URL_MODEL = re.compile(r"dall-e-.*")
"""Models of OpenAI's whose answers have addresses where nothing else is said."""
STEPS = {"low": 12, "high": 40, "hd": 40, "xhigh": 60, "max": 80}
"""Of a quality; any other takes as many as the model prefers."""
USUAL_COMPRESSION = 100  # OpenAI's
ANEW = 1.0  # strength of an edit under a mask: what is erased is not to be seen again
FIDELITY = {"low": 0.85, "high": 0.5}
LIKENESS = 0.5  # strength of a variation


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures that come with an edit.

    Attributes:
        images: to edit; the first counts.
        mask: transparent where it is drawn anew.
    """

    images: tuple[Incoming, ...]
    mask: Incoming | None = None


def generation(fields: Generation, models: Models, settings: Settings) -> Asked:
    """What a request for pictures from a prompt asks for; raises as `asked` and `Refusal`."""
    values, warnings = _drawn(fields, models, settings)
    return _with(warnings, asked(values, fields.n or 1, settings))


def edit(fields: Edit, pictures: Pictures, models: Models, settings: Settings) -> Asked:
    """What a request for a changed picture asks for; raises as `asked` and `Refusal`."""
    values, warnings = _drawn(fields, models, settings)
    image, mask = pictures.images[0], pictures.mask
    given = {"init": image}
    if len(pictures.images) > 1:
        warnings.append(f"image: {len(pictures.images)} came, and the first was edited")
    if mask is not None:
        given["mask"], told = anew(mask)
        warnings += told
    elif image.image.mode == "RGBA" and "mask" not in values:
        values["mask"] = "alpha"
    if "mask" in given or "mask" in values:
        values.setdefault("strength", ANEW)
    elif fields.input_fidelity is not None:
        values.setdefault("strength", FIDELITY[fields.input_fidelity])
    return _with(warnings, asked(values, fields.n or 1, settings, given))


def variation(fields: Variation, image: Incoming, models: Models, settings: Settings) -> Asked:
    """What a request for pictures like one asks for; raises as `asked` and `Refusal`."""
    values, warnings = _common(fields, models)
    values.setdefault("strength", LIKENESS)
    values |= {"prompt": fields.prompt}
    return _with(warnings, asked(values, fields.n or 1, settings, {"init": image}))


def anew(mask: Incoming) -> tuple[Incoming, list[str]]:
    """Our mask, white where it is drawn anew, of OpenAI's, which is transparent there; and what to tell of it."""
    if mask.image.mode == "RGBA":
        return Incoming.of(ImageOps.invert(mask.image.getchannel("A"))), []
    grey: Image.Image = mask.image.convert("L")
    return Incoming.of(grey), ["mask: nothing in it is transparent, so what is white was drawn anew"]


def wants_url(fields: Fields) -> bool:
    """Whether addresses are answered, and no base64."""
    if fields.response_format is not None:
        return fields.response_format == "url"
    return URL_MODEL.fullmatch(fields.model or "") is not None


def _drawn(fields: DrawnFields, models: Models, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    values, warnings = _common(fields, models)
    values["prompt"] = fields.prompt
    if fields.output_format is not None:
        values["format"] = fields.output_format
    if isinstance(fields.quality, int):
        values["quality"] = fields.quality
    elif fields.quality in STEPS:
        values.setdefault("steps", min(STEPS[fields.quality], settings.most_steps))
    if fields.output_compression is not None and values.get("format", "png") != "png":
        values["quality"] = max(1, fields.output_compression)
    if fields.background == "transparent":
        warnings.append("background: pictures have none that is transparent")
    return values, warnings


def _common(fields: Fields, models: Models) -> tuple[dict[str, Any], list[str]]:
    values, warnings = dict(fields.options), list[str]()
    if fields.model is not None:
        if OPENAI_MODEL.fullmatch(fields.model):
            warnings.append(f"model {fields.model[:60]}: is OpenAI's; {models.current} drew")
        else:
            values["model"] = _listed(fields.model, models)
    if fields.size not in (None, "auto"):
        size, told = size_of(str(fields.size))
        values |= size
        warnings += told
    return values, warnings


def _listed(name: str, models: Models) -> str:
    try:
        return models.named(name)
    except OrderError as error:
        raise Refusal(404, str(error), param="model", code="model_not_found") from error


def size_of(text: str) -> tuple[Mapping[str, int], list[str]]:
    """Width and height that are drawn for a size, multiples of 8, and what to tell of them.

    Raises:
        Refusal: for what is no size.
    """
    match = SIZE.fullmatch(text.strip().lower())
    sides = [int(each) for each in match.groups()] if match else [0]
    if 0 in sides:
        raise Refusal(
            400, f"size {text[:40]!r}: must be WIDTHxHEIGHT in pixels, as 512x512, or auto", param="size"
        )
    width, height = (max(SIDE_MULTIPLE, round(each / SIDE_MULTIPLE) * SIDE_MULTIPLE) for each in sides)
    told = [] if [width, height] == sides else [f"size {text}: drawn as {width}x{height}, in multiples of 8"]
    return {"width": width, "height": height}, told


def _with(warnings: list[str], read: Asked) -> Asked:
    return Asked(read.orders, read.attachments, (*warnings, *read.warnings))
