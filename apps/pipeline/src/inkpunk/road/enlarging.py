"""A larger picture, as a user asks for it: how much larger, what is resized, and how much of it is drawn anew."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch.nn.functional as F
from inkpunk_sampling import find_sampler
from jaxtyping import Float
from torch import Tensor

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.pictures.numbers import exact
from inkpunk.road import given

MOST_TIMES = 16
STRENGTHS = {"latents": 0.6, "pixels": 0.4}
"""By what is resized, how much of it is drawn anew: resized latents decode to a blur, which takes more."""

Value = TypeVar("Value")


class EnlargeError(ValueError):
    """An enlarging that cannot be; the message says which value, why, and what to give instead."""


@dataclass(frozen=True)
class Enlarge:
    """How a picture becomes larger: it is resized, and drawn anew in part, as image to image does.

    Attributes:
        to: how many times as wide and high, 1 to 16; or the width and height in pixels, multiples of 8.
        by: what is resized: "latents", bilinear, or "pixels", by Lanczos or a network. None is latents, or pixels
            where a network is given or a picture is there already.
        strength: how much is drawn anew, in (0, 1]. None is 0.6 of latents and 0.4 of pixels.
        steps: of the path whose last part is walked; None for those of the picture before.
        sampler: as a request's; None for that of the picture before.
        upscaler: the file of a network that makes pictures larger, such as an ESRGAN.

    Raises:
        EnlargeError: for any value outside these ranges, or of another kind.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    to: float | tuple[int, int]
    by: str | None = None
    strength: float | None = None
    steps: int | None = None
    sampler: str | None = None
    upscaler: str | Path | None = None

    def __post_init__(self) -> None:
        """Check every value, and keep it as Python's own."""
        try:
            self._take_plainly()
        except given.GivenError as error:
            raise EnlargeError(str(error)) from error
        if isinstance(self.to, tuple):
            for side in self.to:
                if side < SIZE_MULTIPLE or side % SIZE_MULTIPLE:
                    raise EnlargeError(
                        f"enlarge {self.told}: width and height must be positive multiples of {SIZE_MULTIPLE}"
                    )
        elif not 1 <= self.to <= MOST_TIMES:  # NaN is neither
            raise EnlargeError(
                f"enlarge {self.told}: must be 1 to {MOST_TIMES} times as large, as 2; or WIDTHxHEIGHT, as 1024x768"
            )
        if self.by not in (None, *STRENGTHS):
            raise EnlargeError(f"enlarge by {self.by!r}: use {' or '.join(STRENGTHS)}")
        if self.by == "latents" and self.upscaler is not None:
            raise EnlargeError("enlarge by latents: an upscaler makes pixels of pixels; enlarge by pixels")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise EnlargeError(
                f"enlarge strength {self.strength:g}: must be above 0 and at most 1; 0.3 to 0.6 is usual"
            )
        if self.sampler is not None:
            try:
                find_sampler(self.sampler)
            except ValueError as error:
                raise EnlargeError(f"enlarge: {error}") from error
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise EnlargeError(f"enlarge steps {self.steps}: must lie between 1 and 1000; 16 to 50 is usual")

    def _take_plainly(self) -> None:
        if isinstance(self.to, str):
            to = _read(self.to)
        elif isinstance(self.to, tuple | list):
            to = given.whole_numbers("enlarge", self.to)
            if len(to) != 2:
                raise EnlargeError(f"enlarge {self.to!r}: must be a factor, or a width and a height")
        else:
            to = given.number("enlarge", self.to)
        kept: dict[str, Any] = {
            "to": to,
            "by": _or_none(given.text, "enlarge by", self.by),
            "strength": _or_none(given.number, "enlarge strength", self.strength),
            "steps": _or_none(given.whole, "enlarge steps", self.steps),
            "sampler": _or_none(given.text, "enlarge sampler", self.sampler),
            "upscaler": self.upscaler
            if isinstance(self.upscaler, Path)
            else _or_none(given.text, "upscaler", self.upscaler),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)  # it is frozen for all others

    @property
    def told(self) -> str:
        """How much larger, as it is read: "2" or "1024x768"."""
        return f"{self.to[0]}x{self.to[1]}" if isinstance(self.to, tuple) else exact(self.to)

    @property
    def size(self) -> tuple[int, int] | None:
        """The width and height it asks for; None for a factor."""
        return self.to if isinstance(self.to, tuple) else None

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """The width and height, in multiples of 8, that a picture of this size comes to."""
        if isinstance(self.to, tuple):
            return self.to
        width, height = (max(round(side * self.to / SIZE_MULTIPLE), 1) * SIZE_MULTIPLE for side in size)
        return width, height

    def way(self, there: bool = False) -> str:
        """What is resized; `there`: of a picture that is there already."""
        return self.by or ("pixels" if there or self.upscaler is not None else "latents")

    def share(self, there: bool = False) -> float:
        """How much is drawn anew; `there`: of a picture that is there already."""
        return STRENGTHS[self.way(there)] if self.strength is None else self.strength


def resized(
    latents: Float[Tensor, "batch 4 _ _"], size: tuple[int, int]
) -> Float[Tensor, "batch 4 larger_height larger_width"]:
    """Latents of a picture of this width and height in pixels, between those that are there: bilinear."""
    width, height = (side // SIZE_MULTIPLE for side in size)
    return F.interpolate(latents, (height, width), mode="bilinear")


def _read(text: str) -> float | tuple[int, int]:
    """Read 2, 1.5 or 1024x768."""
    if match := re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text):
        return int(match[1]), int(match[2])
    if re.fullmatch(r"\s*\d{1,6}(\.\d{0,20})?\s*", text):
        return float(text)
    raise EnlargeError(f"enlarge {text[:40]!r}: is neither a factor, as 2, nor WIDTHxHEIGHT, as 1024x768")


def _or_none(read: Any, name: str, value: Value | None) -> Value | None:
    return None if value is None else read(name, value)
