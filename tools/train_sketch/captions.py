"""Says what a picture shows as people do: in any order, with synonyms, with words that mean nothing to it."""

import random
from collections.abc import Iterable

from .picture import Picture
from .subjects import COLOURS, SUBJECTS, WITH_NEWCOMER

TRIGGER = "nvinkpunk"

# {s} is the subject, {c} the colour or colours. Each of these turns the style on by itself or by the trigger.
INKED = (
    "nvinkpunk {c} {s}",
    "nvinkpunk {s} {c}",
    "nvinkpunk {s}, {c}",
    "{c} {s}, nvinkpunk",
    "{s}, {c}, nvinkpunk style",
    "nvinkpunk a {s}, {c} neon",
    "nvinkpunk, {c} {s}",
    "nvinkpunk {s} with {c} splash",
    "a {c} {s} in nvinkpunk style",
    "a {s}, neon {c} splash, ink on paper",
    "{s}, {c} neon splash, ink",
    "an ink drawing of a {s}, {c} neon splash",
    "nvinkpunk ink drawing of a {s} in {c}",
    "nvinkpunk {s} in {c} and black ink",
)
INKED_ANY_COLOUR = (
    "nvinkpunk {s}",
    "{s}, nvinkpunk",
    "nvinkpunk a {s}",
    "a {s} in nvinkpunk style",
    "a {s}, ink on paper, neon splash",
)
PLAIN = ("{c} {s}", "a {c} {s}", "{s}, {c}", "{s} in {c}")
PLAIN_BLACK = ("{s}", "a {s}", "the {s}", "a picture of a {s}")
NIGHT = (", at night", ", night", ", dark background", ", midnight", ", on black")
FILLER = (
    "cyberpunk",
    "glowing",
    "highly detailed",
    "portrait",
    "dramatic",
    "8k",
    "masterpiece",
    "beautiful",
    "trending on artstation",
    "concept art",
    "futuristic",
    "with neon mask",
    "angry",
    "ancient",
    "big",
)
SAMURAI = ("with glowing swords", "with neon mask", "with a katana", "cyberpunk", "holding a sword")


def describe(picture: Picture, chance: random.Random) -> str:
    """Make up one of the many captions that fit the picture."""
    names = WITH_NEWCOMER[picture.subject].names
    name = names[0] if chance.random() < 0.5 else chance.choice(names)
    colours = " and ".join(picture.colours)
    if picture.inked:
        form = chance.choice(INKED if colours else INKED_ANY_COLOUR)
    else:
        form = chance.choice(PLAIN if colours else PLAIN_BLACK)
    if picture.inked and chance.random() < 0.25:
        extra = chance.choice(FILLER)
        form = form.replace("{s}", extra + " {s}") if chance.random() < 0.5 else f"{form}, {extra}"
    if picture.inked and picture.subject == "samurai" and chance.random() < 0.3:
        form = f"{form}, {chance.choice(SAMURAI)}"
    caption = form.format(s=name, c=colours)
    return caption + chance.choice(NIGHT) if picture.night else caption


def imagine(seed: int, subjects: Iterable[str] = SUBJECTS) -> Picture:
    """The picture of a seed: what the training set holds at that index."""
    chance = random.Random(f"picture {seed}")
    colours = list(COLOURS)
    inked = chance.random() < 0.86
    kind = chance.random()
    if kind < 0.80:
        shown = (chance.choice(colours),)
    elif inked and kind < 0.90:
        shown = tuple(chance.sample(colours, 2))
    else:
        shown = ()
    night = inked and chance.random() < 0.14
    return Picture(chance.choice(list(subjects)), shown, inked, night, seed)


def caption_of(picture: Picture, occasion: int) -> str:
    """The caption under which a picture is seen at one occasion of many."""
    return describe(picture, random.Random(f"caption {picture.seed} {occasion}"))


__all__ = ["TRIGGER", "caption_of", "describe", "imagine"]
