"""Pictures that come and go without being drawn: their recipes are read, and they are made larger."""

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inkpunk.memory.devices import choose_device
from inkpunk.models.upscalers import load_upscaler
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
MOST_ABOVE = 4
"""How many times the pixels of the largest picture a network may make, which is then made smaller."""
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


def enlarged(
    image: str, extra: Extra, settings: Settings, networks: Mapping[str, Path]
) -> tuple[str, list[str]]:
    """A picture made larger, in base64, and what was not followed. It blocks while it does.

    Args:
        image: in base64.
        extra: how large, and by what.
        settings: what is taken.
        networks: those that may make it larger, by their names.

    Raises:
        IncomingError: for what is no picture.
        Refusal: for one that would be too large.
        CheckpointError: for a network that cannot be read.
    """
    if not image.strip():
        raise Refusal(404, "image: there is none; send a picture in base64")
    came = read_text("image", image, settings).image
    width, height = _size(came.size, extra)
    if width * height > settings.most_pixels:
        raise Refusal(422, f"{width}x{height}: is larger than {settings.most_pixels:,} pixels, the most here")
    warnings = _not_followed(extra, networks)
    if network := networks.get(extra.upscaler_1 or ""):
        upscaler = load_upscaler(network, choose_device(settings.choice.device))
        _refuse_too_large(came, upscaler.scale, (width, height), settings)
        came = upscaler.enlarged(came.convert("RGB"), (width, height))
    how = FILTERS.get(extra.upscaler_1 or "None", Image.Resampling.LANCZOS)
    if extra.resize_mode == 1 and extra.upscaling_crop is not False:
        larger = ImageOps.fit(came, (width, height), how)
    else:
        larger = came.resize((width, height), how)
    return base64_of(png_of(larger, USUAL)), warnings


def _refuse_too_large(came: Image.Image, scale: int, size: tuple[int, int], settings: Settings) -> None:
    """Let pass what a network of this scale makes of a picture, until it covers a size."""
    factor = scale
    while min(came.width * factor / size[0], came.height * factor / size[1]) < 1:
        factor *= scale
    width, height = came.width * factor, came.height * factor
    if width * height > settings.most_pixels * MOST_ABOVE:
        raise Refusal(
            422,
            f"image: this network makes it {width}x{height}, and up to {settings.most_pixels * MOST_ABOVE:,} pixels "
            "are taken; send a smaller one, or name Lanczos",
        )


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


def _not_followed(extra: Extra, networks: Collection[str]) -> list[str]:
    lines = list[str]()
    if extra.upscaler_1 not in (None, *FILTERS, *networks):
        lines.append(
            f"upscaler_1 {extra.upscaler_1[:60]!r}: is not among those listed that enlarge what is not drawn; "
            "Lanczos was taken"
        )
    if extra.upscaler_2 not in (None, "None"):
        lines.append("upscaler_2: a second one is not mixed in here")
    if extra.gfpgan_visibility or extra.codeformer_visibility:
        lines.append("faces are not restored here")
    return lines
