"""Pictures that come and go without being drawn: their recipes are read, and they are made larger."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.infotext import split
from inkpunk.pictures.recipe import read_recipe
from PIL import Image, ImageOps

from inkpunk_studio.http.a1111.fields import Extra
from inkpunk_studio.http.incoming import read_text
from inkpunk_studio.http.outgoing import USUAL, base64_of, png_of
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.settings import Settings

FILTERS = {
    "None": Image.Resampling.LANCZOS,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
SCALE, SIDE = 2.0, 512  # where nothing is said


def png_info(image: str, settings: Settings) -> dict[str, Any]:
    """A picture's infotext, and its settings taken apart. It blocks while it decodes the picture.

    Raises:
        IncomingError: for what is no picture.
    """
    if not image.strip():
        raise Refusal(404, "image: there is none; send a picture in base64")
    incoming = read_text("image", image, settings)
    with TemporaryDirectory(prefix="inkpunk-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(incoming.data)
        try:
            texts = read_recipe(path).texts
        except PictureError:  # of a kind that never has one
            texts = {}
    info = texts.get("parameters", "")
    return {"info": info, "items": texts, "parameters": _taken_apart(info)}


def _taken_apart(info: str) -> dict[str, Any]:
    try:
        parts = split(info)
    except PictureError:
        return {}
    return {"Prompt": parts.prompt, "Negative prompt": parts.negative} | {
        key: value if isinstance(value, str) else str(value) for key, value in parts.pairs
    }


def enlarged(image: str, extra: Extra, settings: Settings) -> tuple[str, list[str]]:
    """A picture made larger, in base64, and what was not followed. It blocks while it does.

    Raises:
        IncomingError: for what is no picture.
        Refusal: for one that would be too large.
    """
    if not image.strip():
        raise Refusal(404, "image: there is none; send a picture in base64")
    came = read_text("image", image, settings).image
    width, height = _size(came.size, extra)
    if width * height > settings.most_pixels:
        raise Refusal(422, f"{width}x{height}: is larger than {settings.most_pixels:,} pixels, the most here")
    warnings = _not_followed(extra)
    how = FILTERS.get(extra.upscaler_1 or "None", Image.Resampling.LANCZOS)
    if extra.resize_mode == 1 and extra.upscaling_crop is not False:
        larger = ImageOps.fit(came, (width, height), how)
    else:
        larger = came.resize((width, height), how)
    return base64_of(png_of(larger, USUAL)), warnings


def _size(size: tuple[int, int], extra: Extra) -> tuple[int, int]:
    width, height = size
    if extra.resize_mode != 1:
        scale = extra.upscaling_resize or SCALE
        return max(1, round(width * scale)), max(1, round(height * scale))
    to = (extra.upscaling_resize_w or SIDE, extra.upscaling_resize_h or SIDE)
    if extra.upscaling_crop is not False:
        return to
    scale = min(to[0] / width, to[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _not_followed(extra: Extra) -> list[str]:
    lines = list[str]()
    if extra.upscaler_1 not in (None, *FILTERS):
        lines.append(
            f"upscaler_1 {extra.upscaler_1[:60]!r}: does not enlarge what is not drawn; Lanczos was taken, and "
            "Nearest can be"
        )
    if extra.upscaler_2 not in (None, "None"):
        lines.append("upscaler_2: a second one is not mixed in here")
    if extra.gfpgan_visibility or extra.codeformer_visibility:
        lines.append("faces are not restored here")
    return lines
