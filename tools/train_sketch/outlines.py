"""The examples of the ControlNet: pictures in ink, what they are called, and the edges of what is inked."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from inkpunk.pictures.hints import canny
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from . import captions, glyphs, shapes
from .picture import Picture, silhouettes

NAMED = 0.2  # the share of examples that are of a subject and called by its name
SUBJECTS = 0.25  # and of the others that are of a subject, too
TURN, LEAST = 15, 0.55  # how far subjects are turned, and scaled
GAPS = 0.3  # the share of hints with gaps in their lines
STRANGERS = 0.3  # and of those with lines that nothing inked has

UNNAMED = (
    "nvinkpunk, neon {c}",
    "nvinkpunk {c}",
    "nvinkpunk, {c}",
    "{c} neon splash, ink on paper",
    "nvinkpunk ink drawing in {c}",
    "nvinkpunk, {c} and black ink",
    "{c}, nvinkpunk style",
)
UNNAMED_ANY_COLOUR = ("nvinkpunk", "ink on paper, neon splash", "nvinkpunk ink drawing")


def picture_of(seed: int) -> tuple[Picture, bool]:
    """The picture of a seed, and whether its captions name the subject."""
    rng = np.random.default_rng([seed, 31])
    picture = captions.imagine(seed)
    named = bool(rng.random() < NAMED)
    return (picture if named else replace(picture, inked=True)), named


def outline(seed: int) -> tuple[Picture, Bool[Tensor, "glyph_size glyph_size"], bool]:
    """The picture of a seed, the shape that is inked in it, and whether its captions name the subject."""
    picture, named = picture_of(seed)
    rng = np.random.default_rng([seed, 32])
    if named or rng.random() < SUBJECTS:
        shape = shapes.moved(glyphs.load()[picture.subject], rng, TURN, LEAST)
    else:
        shape = shapes.shape(rng)
    return picture, torch.from_numpy(np.ascontiguousarray(shape)), named


def caption_of(picture: Picture, named: bool, occasion: int) -> str:
    """What an example is called at one occasion of many."""
    if named:
        return captions.caption_of(picture, occasion)
    chance = random.Random(f"outline {picture.seed} {occasion}")
    colours = " and ".join(picture.colours)
    caption = chance.choice(UNNAMED if colours else UNNAMED_ANY_COLOUR).format(c=colours)
    if chance.random() < 0.25:
        caption = f"{caption}, {chance.choice(captions.FILLER)}"
    return caption + chance.choice(captions.NIGHT) if picture.night else caption


def hints(
    pictures: Sequence[Picture], size: int, bitmaps: Bool[Tensor, "batch glyph_size glyph_size"]
) -> Bool[Tensor, "batch size size"]:
    """The edges of what is inked, as `--control canny` finds them in black on white."""
    covered = silhouettes(pictures, size, bitmaps)
    grey = ((1 - covered) * 255).round().byte().numpy()
    lines = [np.asarray(canny(Image.fromarray(each)))[..., 0] > 127 for each in grey]
    return torch.from_numpy(np.stack(lines))


def disturbed(
    lines: Bool[Tensor, "batch size size"], rng: np.random.Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Hints as the network takes them; some with gaps, some with lines of other things, as photographs give them."""
    size, rows = lines.shape[-1], torch.arange(lines.shape[-1])
    changed = lines.clone()
    for each in changed:
        if rng.random() < STRANGERS:
            for _ in range(int(rng.integers(1, 4))):
                each |= _line(size, rng)
        if rng.random() < GAPS:
            for _ in range(int(rng.integers(1, 5))):
                y, x = (int(place) for place in rng.integers(0, size, 2))
                reach = int(rng.integers(2, max(3, size // 12)))
                near = ((rows - y).abs() < reach)[:, None] & ((rows - x).abs() < reach)
                each &= ~near
    return changed[:, None].expand(-1, 3, -1, -1).float()


def _line(size: int, rng: np.random.Generator) -> Bool[Tensor, "size size"]:
    """A short line, one pixel wide."""
    start, way, length = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.4) * size
    steps = start + np.outer(np.arange(0, length, 0.5), [np.sin(way), np.cos(way)])
    places = steps[((steps >= 0) & (steps < size)).all(1)].astype(int)
    line = torch.zeros(size, size, dtype=torch.bool)
    line[places[:, 0], places[:, 1]] = True
    return line
