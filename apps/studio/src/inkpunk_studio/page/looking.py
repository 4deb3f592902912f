"""What the tab Gallery does with pictures: pages of them, variations, drawing one again."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.pictures.comparing import compare
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.reading import read_picture

from inkpunk_studio.gallery.gallery import Gallery
from inkpunk_studio.gallery.recipes import Opened
from inkpunk_studio.gallery.shelf import Hung
from inkpunk_studio.page.recipe import values_here
from inkpunk_studio.work.models import Models

A_PAGE = 48
"""Pictures of a page: few enough to come at once, and divided by 2, 3, 4 and 6 columns."""
VARIATIONS = 4
SEED_BITS = 32


def pages(count: int) -> int:
    """How many pages so many pictures take; an empty gallery has one, too."""
    return max(1, -(-count // A_PAGE))


def page_of(hung: Sequence[Hung], number: int) -> tuple[Sequence[Hung], int]:
    """The pictures of a page, from 0, or of the last one; and its number."""
    number = min(max(0, number), pages(len(hung)) - 1)
    return hung[number * A_PAGE : (number + 1) * A_PAGE], number


def tiles(gallery: Gallery, hung: Sequence[Hung]) -> tuple[list[tuple[str, str]], list[str]]:
    """What a grid of small pictures shows, and the ids of those; what cannot be read is left out."""
    small = [(each, gallery.thumbnail(each)) for each in hung]
    seen = [(each, path) for each, path in small if path is not None]
    return [(str(path), each.path.stem) for each, path in seen], [each.id for each, _ in seen]


def variations(opened: Opened, models: Models, amount: int | float, count: int = VARIATIONS) -> list[Order]:
    """Orders that draw a picture with a little of other noise each.

    Raises:
        OrderError: for a picture whose recipe does not suffice.
    """
    order = again(opened, models)
    return [order.changed({"vary": f"{secrets.randbits(SEED_BITS)}:{amount:g}"}) for _ in range(count)]


def again(opened: Opened, models: Models) -> Order:
    """The order that draws a picture again.

    Raises:
        OrderError: for a picture whose recipe does not suffice: none, or other pictures that it was drawn from.
    """
    order = Order.read(values_here(opened, models)) if opened.values else None
    if order is None or order.seed is None:
        raise OrderError("it does not say how it was drawn, so that it cannot be drawn again")
    facts = opened.facts
    if facts and (
        facts.init_hash or facts.mask_hash or facts.controls or facts.image_prompts or facts.regions
    ):
        raise OrderError(
            "it was drawn from other pictures, which it does not hold; reuse it, and give them in Edit"
        )
    return order


def said_again(opened: Opened, drawn: Path) -> str:
    """Whether a picture that was drawn again is the same, in a line."""
    if opened.facts is None:
        return "Drawn again. No two programs round alike: it is nearly the same at best."
    try:
        with read_picture(drawn) as image:
            return f"Drawn again: {compare(opened.path, Picture(image, read_facts(drawn)), opened.facts)}."
    except PictureError as error:
        return f"Drawn again, and cannot be compared: {error}"
