"""What Python is given for pictures, and what goes with one: each as a request keeps it, with its picture read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from inkpunk_weights import CONTROL_FILES
from PIL import Image, ImageOps

from inkpunk.pictures.canvas import CanvasError, Extend
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.masks import read_mask
from inkpunk.pictures.paths import noted
from inkpunk.pictures.reading import plain, read_picture, read_with_alpha, refuse_too_large, with_alpha
from inkpunk.road.control import Control, ControlError
from inkpunk.road.enlarging import Enlarge, EnlargeError
from inkpunk.road.errors import RequestError
from inkpunk.road.image_prompts import ImagePrompt, ImagePromptError
from inkpunk.road.regions import Region, RegionError


def kept_controls(asked: object) -> tuple[Control, ...]:
    """Controls as they are kept, each with its picture read; text is read as `Control.read` does.

    Raises:
        RequestError: for any other kind, one by itself too, or one that cannot be read.
    """
    return tuple(map(_control, _several("controls", asked, "['canny:photo.png:0.9']")))


def kept_regions(asked: object) -> tuple[Region, ...]:
    """Regions as they are kept, each with its mask read; text is read as `Region.read` does.

    Raises:
        RequestError: for any other kind, one by itself too, or one that cannot be read.
    """
    return tuple(map(_region, _several("regions", asked, "['red samurai@mask.png']")))


def _several(name: str, asked: object, example: str) -> Sequence[object]:
    if isinstance(asked, str | bytes) or not isinstance(asked, Sequence):
        raise RequestError(f"{name}: must be a list, as {example}, not {type(asked).__name__}")
    return cast("Sequence[object]", asked)


def _control(asked: object) -> Control:
    try:
        control = Control.read(asked) if isinstance(asked, str) else asked
    except ControlError as error:
        raise RequestError(str(error)) from error
    if not isinstance(control, Control):
        raise RequestError(
            "controls: must be of inkpunk.Control, or texts such as 'canny:photo.png:0.9', not "
            f"{type(asked).__name__}"
        )
    if control.picture is None:  # pyright: ignore[reportUnnecessaryComparison]  # what Python's callers may do
        raise RequestError(f"{control}: has no picture; give one of Pillow's, or the path of one")
    if isinstance(control.picture, str | Path) and Path(control.picture).suffix in CONTROL_FILES:
        raise RequestError(
            f"{control} {control.picture}: a file of weights, and no picture; the network of a kind is given as "
            f"--control-net {control.kind}={control.picture}, an adapter as --lora"
        )
    return replace(control, picture=kept_picture(str(control), control.picture))


def kept_enlarge(asked: object, there: bool) -> Enlarge | None:
    """An enlarging as it is kept; `there` is whether a picture is there already, in pixels.

    Raises:
        RequestError: for any other kind, or one that cannot be read.
    """
    if asked is None:
        return None
    try:
        enlarge = asked if isinstance(asked, Enlarge) else Enlarge(cast("Any", asked))
    except EnlargeError as error:
        raise RequestError(str(error)) from error
    if there and enlarge.by == "latents":
        raise RequestError("enlarge by latents: an init picture is there in pixels; leave it out")
    return enlarge


def kept_image_prompts(asked: object) -> tuple[ImagePrompt, ...]:
    """Image prompts as they are kept, each with its picture read; text is read as `ImagePrompt.read` does.

    Raises:
        RequestError: for any other kind, one by itself too, or one that cannot be read.
    """
    return tuple(map(_image_prompt, _several("image prompts", asked, "['style.png:0.6']")))


def _image_prompt(asked: object) -> ImagePrompt:
    try:
        prompt = ImagePrompt.read(asked) if isinstance(asked, str) else asked
    except ImagePromptError as error:
        raise RequestError(str(error)) from error
    told, weight = (prompt.picture, prompt.weight) if isinstance(prompt, ImagePrompt) else (prompt, 1.0)
    picture = kept_picture("image prompt", told)
    if picture is None:
        raise RequestError("image prompt: has no picture; give one of Pillow's, or the path of one")
    return ImagePrompt(picture, weight)


def kept_picture(name: str, init: object, *, alpha: bool = False) -> Image.Image | None:
    """A picture as it is kept, in 8 bits: RGB, or with its transparency where `alpha` asks for it.

    Raises:
        RequestError: for any other kind, or one that cannot be read.
    """
    if init is None:
        return None
    try:
        if isinstance(init, Image.Image):
            return noted(with_alpha(init) if alpha else plain(init), init)
        if isinstance(init, str | Path):
            return noted(read_with_alpha(init) if alpha else read_picture(init), init)
    except PictureError as error:
        raise RequestError(f"{name}{':' if isinstance(init, Image.Image) else ''} {error}") from error
    raise RequestError(
        f"{name}: must be a picture of Pillow's or the path of one, not {type(init).__name__}; "
        "PIL.Image.fromarray makes a picture of an array"
    )


def kept_mask(asked: object, alpha: Image.Image | None) -> Image.Image | None:
    """A mask as it is kept: of 8 bits, in grey; or of how opaque a picture is.

    Raises:
        RequestError: for any other kind, or one that cannot be read.
    """
    if asked is None:
        return None
    if isinstance(asked, str) and asked == "alpha":
        if alpha is None:
            raise RequestError(
                "mask alpha: the picture has no transparent part, which would be drawn anew; erase some of it, or "
                "give a mask"
            )
        return noted(ImageOps.invert(alpha), asked)
    try:
        if isinstance(asked, Image.Image | str | Path):
            return noted(read_mask(asked), asked)
    except PictureError as error:
        raise RequestError(f"mask{':' if isinstance(asked, Image.Image) else ''} {error}") from error
    raise RequestError(
        f"mask: must be a picture of Pillow's, the path of one, or 'alpha', not {type(asked).__name__}; "
        "PIL.Image.fromarray makes a picture of an array"
    )


def _region(asked: object) -> Region:
    try:
        region = Region.read(asked) if isinstance(asked, str) else asked
    except RegionError as error:
        raise RequestError(str(error)) from error
    if not isinstance(region, Region):
        raise RequestError(
            f"regions: must be of inkpunk.Region, or texts such as 'red samurai@mask.png', not {type(asked).__name__}"
        )
    if not isinstance(region.mask, Image.Image | str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]  # Python's callers
        raise RequestError(
            f"region {region.prompt!r}: its mask must be a picture of Pillow's or the path of one, not "
            f"{type(region.mask).__name__}"
        )
    try:
        mask = noted(read_mask(region.mask), region.mask)
    except PictureError as error:
        raise RequestError(f"region {region.prompt!r}: {error}") from error
    if mask.getbbox() is None:
        raise RequestError(
            f"region {region.prompt!r}: its mask is black, so that it counts nowhere; paint some of it"
        )
    return Region(region.prompt, mask)


def kept_extend(asked: object, picture: Image.Image | None) -> Extend | None:
    """By how much a picture is continued; None for by nothing.

    Raises:
        RequestError: for any other kind, or one that cannot be read; for one that makes it too large to be held.
    """
    extend = _extend(asked)
    if extend and picture is not None:
        width, height = (
            extend.left + picture.width + extend.right,
            extend.top + picture.height + extend.bottom,
        )
        try:
            refuse_too_large(width, height)
        except PictureError as error:
            raise RequestError(f"extend {extend}: {error}") from error
    return extend


def _extend(asked: object) -> Extend | None:
    if asked is None or isinstance(asked, Extend):
        return asked or None
    if not isinstance(asked, str):
        raise RequestError(
            f"extend: must be of inkpunk.Extend, or a text such as 'left=128,bottom=64', not {type(asked).__name__}"
        )
    try:
        return Extend.read(asked) or None
    except CanvasError as error:
        raise RequestError(str(error)) from error
