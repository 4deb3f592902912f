"""A picture of which part is drawn anew: where, in which size, and how what is drawn comes back into it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from inkpunk.pictures.filling import filled
from inkpunk.pictures.fitting import SIZE_MULTIPLE, drawn_size, fitted, size_like
from inkpunk.pictures.seams import without_seam
from inkpunk.road import given

CONTENTS = ("original", "blurred", "noise", "blank")
"""What the part to be drawn begins as: what it was, its surroundings, noise, or nothing."""
SIDES = ("left", "top", "right", "bottom")
TRANSITION = 0.25  # of the model's own side: from the old part of a picture to where the new is free
ROOM = 2.25  # of the model's own area, to either side: what is drawn at the picture's own size, as 768 x 768
PASTED_FROM = 64
"""The level of a mask from which on what is drawn takes the place of what was. Below, the two are blended: as such a
pixel may change at the end alone, they hardly differ, and no edge shows where the mask begins."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels; may reach beyond the picture."""


class CanvasError(ValueError):
    """A canvas that cannot be; the message says why, and what to do."""


@dataclass(frozen=True)
class Extend:
    """By how many pixels a picture is continued on each side.

    Raises:
        CanvasError: for what is no whole number of pixels, from 0 up.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        for side in SIDES:
            try:
                pixels = given.whole(f"extend {side}", getattr(self, side))
            except given.GivenError as error:
                raise CanvasError(str(error)) from error
            if pixels < 0:
                raise CanvasError(f"extend {side}: {pixels} pixels cannot be; give 0 or more")
            object.__setattr__(self, side, pixels)  # it is frozen for all others

    def __bool__(self) -> bool:
        return self != Extend()

    def __str__(self) -> str:
        """As it is read."""
        return ",".join(f"{side}={getattr(self, side)}" for side in SIDES if getattr(self, side))

    @classmethod
    def read(cls, text: str) -> "Extend":
        """Read SIDE=PIXELS,..., as left=128,bottom=64; "all=64" is every side.

        Raises:
            CanvasError: for any other text.
        """
        told = dict[str, int]()
        for each in text.split(","):
            match = re.fullmatch(r"\s*(left|top|right|bottom|all)\s*=\s*(\d{1,5})\s*", each)
            if not match or match[1] in told:
                raise CanvasError(
                    f"extend {text!r}: is not SIDE=PIXELS, sides being {', '.join(SIDES)} or all, as "
                    "left=128,bottom=64"
                )
            told[match[1]] = int(match[2])
        every = told.pop("all", 0)
        return cls(**(dict.fromkeys(SIDES, every) | told))


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture of which part is drawn anew.

    Attributes:
        picture: the whole, in RGB, in the size that the result has.
        change: how much of each pixel is drawn anew, from black (nothing) to white (all); as large.
        box: the part that the model sees.
        size: the width and height in which it sees that, multiples of 8.
        content: what is to be drawn begins as, one of `CONTENTS`.
    """

    picture: Image.Image
    change: Image.Image
    box: Box
    size: tuple[int, int]
    content: str = "original"

    @cached_property
    def changes(self) -> bool:
        """Whether there is anything to be drawn anew."""
        return self.change.getbbox() is not None

    @cached_property
    def shown(self) -> Image.Image:
        """What the model sees, in the size in which it sees it."""
        part = _boxed(self.picture, self.box)
        if self.content == "blurred":
            known = 1 - np.asarray(_boxed(self.change, self.box), np.float32) / 255
            part = Image.fromarray(filled(np.asarray(part), known))
        return part.resize(self.size, Image.Resampling.LANCZOS)

    def beside(self, picture: Image.Image) -> Image.Image:
        """What the model sees of another picture that lies upon this one, in the same size."""
        whole = fitted(picture, self.picture.size, "stretch")
        return _boxed(whole, self.box).resize(self.size, Image.Resampling.LANCZOS)

    @cached_property
    def mask(self) -> Image.Image:
        """How much of each of its pixels is drawn anew."""
        # Between pixels that are free and such as are held there is none that is half of it.
        how = Image.Resampling.BOX if self._scales else Image.Resampling.NEAREST
        return _boxed(self.change, self.box).resize(self.size, how)

    def _known(self, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
        """Where what is drawn should be what was: in cells of which no pixel is free; in the box's own size."""
        known = Image.fromarray((cells(self.mask, "most") == 0).astype(np.uint8))
        return np.asarray(known.resize(size, Image.Resampling.NEAREST)) == 1

    @property
    def _scales(self) -> bool:
        left, top, right, bottom = self.box
        return (right - left, bottom - top) != self.size

    def pasted(self, drawn: Image.Image) -> Image.Image:
        """The whole, with what was drawn in its place; all that may not change is as it was, to the last bit."""
        if not self.changes:
            return self.picture
        left, top, right, bottom = self.box
        size = right - left, bottom - top
        part = drawn.resize(size, Image.Resampling.LANCZOS)
        change = np.asarray(_boxed(self.change, self.box))
        held = change == 0
        old = _boxed(self.picture, self.box)
        new = without_seam(np.asarray(part), np.asarray(old), self._known(size))
        share = np.minimum(change.astype(np.float32) / PASTED_FROM, 1)[..., None]
        levels = (share * new + (1 - share) * np.asarray(old, np.float32)).round().astype(np.uint8)
        whole = self.picture.copy()
        # what reaches beyond the picture is cut off by Pillow
        whole.paste(Image.fromarray(np.where(held[..., None], np.asarray(old), levels)), (left, top))
        return whole


def extended(
    picture: Image.Image, change: Image.Image | None, extend: Extend, transition: float
) -> tuple[Image.Image, Image.Image]:
    """A picture continued from its surroundings, and what of it is drawn anew: what was, and what is new.

    Drawn freely up to the edge, the new part would break off there what it has begun. So it may change the less, the
    nearer it is to the old part, and all at `transition` pixels from it.
    """
    size = picture.width + extend.left + extend.right, picture.height + extend.top + extend.bottom
    old = (extend.left, extend.top)
    whole = _new_area(size, (*old, old[0] + picture.width, old[1] + picture.height), transition)
    whole.paste(change or Image.new("L", picture.size, 0), old)
    if not extend:
        return picture, whole
    canvas = Image.new("RGB", size)
    canvas.paste(picture, old)
    known = np.zeros(size[::-1], np.float32)
    known[old[1] : old[1] + picture.height, old[0] : old[0] + picture.width] = 1
    return Image.fromarray(filled(np.asarray(canvas), known)), whole


def _new_area(size: tuple[int, int], old: Box, transition: float) -> Image.Image:
    """How much is drawn anew around an old part: the more, the further from it, up to all."""
    x, y = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)[:, None]
    beside = np.maximum(np.maximum(old[0] - x, x - old[2] + 1), 0)
    above = np.maximum(np.maximum(old[1] - y, y - old[3] + 1), 0)
    share = np.minimum(np.hypot(beside, above) / transition, 1)
    return Image.fromarray((share * 255).round().astype(np.uint8))


def laid_out(
    picture: Image.Image,
    change: Image.Image,
    side: int,
    *,
    padding: int | None = None,
    asked: tuple[int | None, int | None] = (None, None),
    content: str = "original",
) -> Canvas:
    """Decide what of a picture the model sees, and in which size.

    Args:
        picture, change: as in `Canvas`.
        side: of the square that the model draws best.
        padding: how many pixels around what is drawn it sees, where it does not see all.
        asked: the width and height in which it sees such a part; None goes by `side` and the part's shape. Without
            padding, whether any was: then the picture has the size in which it is to be drawn.
        content: as in `Canvas`.
    """
    whole = (0, 0, *picture.size)
    if padding is None:
        at_its_own = any(asked) or side**2 / ROOM <= picture.width * picture.height <= side**2 * ROOM
        box, size = _in_cells(picture.size) if at_its_own else (whole, size_like(picture.size, side))
        return Canvas(picture, change, box, size, content)
    found = change.getbbox() or whole
    box = (
        max(found[0] - padding, 0),
        max(found[1] - padding, 0),
        min(found[2] + padding, picture.width),
        min(found[3] + padding, picture.height),
    )
    size = size_like((box[2] - box[0], box[3] - box[1]), side, *asked)
    return Canvas(picture, change, _in_shape(box, size, picture.size), size, content)


def canvas_of(
    picture: Image.Image,
    mask: Image.Image | None,
    extend: Extend,
    side: int,
    *,
    padding: int | None = None,
    asked: tuple[int | None, int | None] = (None, None),
    resize: str = "fill",
    content: str = "original",
) -> Canvas:
    """The canvas of a picture, its mask, and what it is to be continued by.

    Args:
        picture: in RGB.
        mask: how much of it is drawn anew, of any size; None for nothing of it.
        extend: by how much it is continued.
        side: of the square that the model draws best.
        padding: as in `laid_out`.
        asked: the width and height to bring the picture to, or with `padding` those that the model sees.
        resize: how it is brought there: see `inkpunk.pictures.fitting.fitted`. What is padded is drawn anew.
        content: as in `Canvas`.
    """
    mask = mask and mask.resize(picture.size, Image.Resampling.BOX)  # which adds no waves to an edge
    if padding is None and any(asked):
        size = drawn_size(picture.size, side, *asked, resize=resize)
        if mask is None and resize == "pad":
            mask = Image.new("L", picture.size, 0)
        mask = mask and fitted(mask, size, resize, margin=255, how=Image.Resampling.BOX)
        picture = fitted(picture, size, resize)
    whole, change = extended(picture, mask, extend, side * TRANSITION)
    return laid_out(whole, change, side, padding=padding, asked=asked, content=content)


def _in_cells(picture: tuple[int, int]) -> tuple[Box, tuple[int, int]]:
    """All of a picture as it is, in multiples of 8, for which it may be continued by a few pixels."""
    size = -(-picture[0] // SIZE_MULTIPLE) * SIZE_MULTIPLE, -(-picture[1] // SIZE_MULTIPLE) * SIZE_MULTIPLE
    return (0, 0, *size), size


def _in_shape(box: Box, size: tuple[int, int], within: tuple[int, int]) -> Box:
    """A box made longer on one axis, so that it has the shape of a size; it is moved to lie within, if it can."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    wanted = max(width, round(height * size[0] / size[1])), max(height, round(width * size[1] / size[0]))
    spans = list[tuple[int, int]]()
    for start, old, new, most in zip((left, top), (width, height), wanted, within, strict=True):
        begin = start - (new - old) // 2
        begin = min(max(begin, 0), most - new) if new <= most else (most - new) // 2
        spans.append((begin, begin + new))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _boxed(image: Image.Image, box: Box) -> Image.Image:
    """A part of an image; what it has beyond the edges is as they are."""
    left, top, right, bottom = box
    inside = image.crop((max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)))
    beyond: Sequence[tuple[int, int]] = (
        (max(-top, 0), max(bottom - image.height, 0)),
        (max(-left, 0), max(right - image.width, 0)),
    )
    if not any(map(any, beyond)):
        return inside
    levels: UInt8[np.ndarray, ...] = np.asarray(inside)
    return Image.fromarray(np.pad(levels, [*beyond, (0, 0)][: levels.ndim], mode="edge"))


def cells(mask: Image.Image, of: str) -> Float32[np.ndarray, "latent_height latent_width"]:
    """How much of each cell of the latents is drawn anew, from 0 to 1.

    Args:
        mask: its 8 x 8 pixels.
        of: which of them tells: see `inkpunk.road.programs.Program.mask_cells`.
    """
    size = mask.width // SIZE_MULTIPLE, mask.height // SIZE_MULTIPLE
    if of == "mean":
        return (np.asarray(mask.resize(size, Image.Resampling.BICUBIC), np.float32) / 255).round()
    levels = np.asarray(mask, np.float32) / 255
    if of == "first":
        return levels[::SIZE_MULTIPLE, ::SIZE_MULTIPLE].round()
    return levels.reshape(size[1], SIZE_MULTIPLE, size[0], SIZE_MULTIPLE).max(axis=(1, 3))
