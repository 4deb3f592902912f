"""Pictures that come with a request: files in the job's own folder, called by their content."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from pathlib import Path

from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError, Value
from PIL import Image

PICTURE_OPTIONS = ("init", "mask", "control", "hint", "image-prompt", "region")
"""Options of an order that name pictures."""
NAME = re.compile(r"attached-[0-9a-f]{32}")
MASK_WORDS = ("alpha",)  # what a mask may say that is no picture's name


@dataclass(frozen=True, eq=False)
class Attachment:
    """A picture that comes with a request; orders call it by its name, wherever they name a picture.

        picture = Attachment(data)
        desk.submit([Order.read({"prompt": "a fox", "init": picture.name, "seed": 7})], attachments=[picture], ...)

    Attributes:
        data: the file's bytes, in any format that inkpunk reads.
    """

    data: bytes

    @cached_property
    def name(self) -> str:
        """What orders call it, as "attached-0123456789abcdef0123456789abcdef"."""
        return f"attached-{hashlib.sha256(self.data).hexdigest()[:32]}"


def within(image: Image.Image, most_pixels: int) -> Image.Image:
    """The picture itself, or where it has more pixels than are drawn, a smaller one of its shape."""
    width, height = image.size
    if width * height <= most_pixels:
        return image
    shrink = sqrt(most_pixels / (width * height))
    size = max(1, int(width * shrink)), max(1, int(height * shrink))
    return image.resize(size, Image.Resampling.LANCZOS)


def check_names(order: Order, attachments: Iterable[str]) -> None:
    """Check that an order names no picture but those that came with it.

    Raises:
        OrderError: for any other name: no path from a request reaches the file system.
    """
    there = {*attachments}
    for option in PICTURE_OPTIONS:
        for text in _texts(order.values.get(option)):
            names = NAME.findall(text)
            if option == "mask" and text in MASK_WORDS:
                continue
            if len(names) != 1 or not _is_whole(option, text, names[0]):
                raise OrderError(
                    f"{option} {text[:60]!r}: names no picture that came with the request; send one"
                )
            if names[0] not in there:
                raise OrderError(f"{option}: the picture {names[0]} did not come with the request; send it")


def with_paths(order: Order, folder: Path) -> Mapping[str, Value]:
    """An order's values with its pictures' paths in place of their names."""

    def path(text: str) -> str:
        return NAME.sub(lambda match: str(folder / match[0]), text)

    def settled(option: str, value: Value) -> Value:
        if option not in PICTURE_OPTIONS:
            return value
        return tuple(map(path, value)) if isinstance(value, tuple) else path(str(value))

    return {option: settled(option, value) for option, value in order.values.items()}


def _texts(value: Value | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)


def _is_whole(option: str, text: str, name: str) -> bool:
    """Whether the name is all that would be taken for a path."""
    before, after = text.split(name, 1)
    numbers = re.fullmatch(r"(:[-+.\d]+)*", after) is not None
    if option in ("init", "mask"):
        return not before and not after
    if option == "image-prompt":
        return not before and numbers
    if option == "region":
        return before.endswith("@") and not after
    return re.fullmatch(r"[^:/\\]+:", before) is not None and numbers
