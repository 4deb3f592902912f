"""Two pictures held against each other: what they carry, and their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.formats import LOSSLESS, QUALITY
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.recipe import read_recipe

UNDECIDING = {
    "paths",
    "weights",
    "model",
    "note",
    "version",
    "device",
    "threads",
    "machine",
    "speed",
    "together",
    "beside",
}
"""Facts that say where a picture's files are and what computed it, and not which picture it is."""
UNTOLD = {"weights", "together", "beside", "threads", "machine", "asked"}
"""Facts that pictures of versions before 0.12 do not tell."""
PLACES = {"paths", "weights"}
"""Facts of no worth where the hashes beside them are the same."""
MOST = 80  # characters of a value that are shown


@dataclass(frozen=True)
class Difference:
    """How a picture differs from one that was saved.

    Attributes:
        same: whether it does not, to the last bit of what can be seen.
        facts: what the two carry that is different, a line each.
        largest, mean: levels, of 255, by which the pixels differ; None for pictures of different sizes.
        share: of the values that differ.
        size: that of the one now, and of the one then.
        lossy: what both were compared as, where pixels were lost in saving: "jpeg 80"; "" for none.
        guessed: whether the quality of that is a guess, as the file does not tell it.
    """

    same: bool
    facts: tuple[str, ...]
    largest: int | None
    mean: float | None
    share: float | None
    size: tuple[tuple[int, int], tuple[int, int]]
    lossy: str = ""
    guessed: bool = False

    def __str__(self) -> str:
        """One line that says it."""
        caveat = f" as {self.lossy}, which loses some" if self.lossy else ""
        if self.guessed:
            caveat += " (its quality is a guess: the file does not tell it)"
        if self.same:
            return f"the same to the last bit{caveat}"
        if self.largest is None or self.mean is None or self.share is None:
            (width, height), then = self.size
            return f"not the same: {width} x {height} pixels, and it was {then[0]} x {then[1]}"
        return (
            f"not the same{caveat}: {self.share:.2%} of its values differ, by up to {self.largest} of 255 levels and "
            f"by {self.mean:.3g} on average"
        )


def saved_as(path: Path, facts: Facts) -> tuple[str, int | None]:
    """What a picture was saved as, and with which quality; None where that is not told.

    Raises:
        PictureError: for a file that is no picture.
    """
    form = read_recipe(path).format.lower()
    told, _, quality = facts.saved.partition(" ")
    return form, int(quality) if told == form and quality.isdecimal() else None


def compare(path: Path, picture: Picture, then: Facts) -> Difference:
    """Hold a picture that was drawn against one that was saved.

    What loses pixels in saving cannot be compared as it was drawn: the new picture is encoded in the same way.

    Raises:
        PictureError: the file cannot be read.
    """
    form, quality = saved_as(path, then)
    try:
        with Image.open(path) as image:
            before = np.asarray(image if image.mode in ("RGB", "RGBA") else image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: cannot be read ({error})") from error
    lossy = form != "png" and not (form == "webp" and quality == LOSSLESS)
    image = picture.image
    if lossy:
        with Image.open(BytesIO(picture.file(form, quality))) as encoded:
            image = encoded.convert(picture.image.mode)
    now = np.asarray(image)
    told = tuple(differences(then, picture.facts))
    sizes = (now.shape[1], now.shape[0]), (before.shape[1], before.shape[0])
    saved = f"{form} {QUALITY if quality is None else quality}" if lossy else ""
    guessed = lossy and quality is None
    if now.shape != before.shape:
        return Difference(False, told, None, None, None, sizes, saved, guessed)
    levels = np.abs(now.astype(np.int16) - before.astype(np.int16))
    largest = int(levels.max(initial=0))
    return Difference(
        not largest, told, largest, float(levels.mean()), float((levels > 0).mean()), sizes, saved, guessed
    )


def differences(then: Facts, now: Facts, *, deciding: bool = False) -> list[str]:
    """What two pictures carry that is different, a line each.

    Args:
        then: what the first carries; what versions before ours do not tell is passed over.
        now: what the second does.
        deciding: leave out what says where its files are, and what computed it.
    """
    told = list[str]()
    for each in fields(Facts):
        one, other = (cast("object", getattr(facts, each.name)) for facts in (then, now))
        if not each.compare or one == other or (deciding and each.name in UNDECIDING):
            continue
        if each.name in PLACES or (each.name in UNTOLD and not one):
            continue
        name = each.name.replace("_", " ")
        if isinstance(one, Mapping):
            before, after = cast("Mapping[str, str]", one), cast("Mapping[str, str]", other)
            told += [
                _said(f"{name} {key}", before.get(key), after.get(key))
                for key in dict.fromkeys([*before, *after])
                if before.get(key) != after.get(key)
            ]
        else:
            told.append(_said(name, one, other))
    return told


def _said(name: str, then: object, now: object) -> str:
    return f"{name}: {_short(then)} then, {_short(now)} now"


def _short(value: object) -> str:
    text = "none" if value in (None, "", (), False) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
