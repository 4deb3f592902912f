"""Pictures side by side on white paper: their columns and rows labelled, a title above."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, QUIET_INK = "white", "#16161d", "#55555f"
LABEL_LINES, TITLE_LINES = 3, 3  # of text at most; what is longer ends in an ellipsis
LONGEST = 1000  # characters of a text that are looked at: more than three lines hold
ELLIPSIS = "…"

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Line:
    """One line of text: where its anchor stands (Pillow's words), its type size in pixels, and its colour."""

    text: str
    place: tuple[int, int]
    anchor: str
    size: int
    ink: str


@dataclass(frozen=True)
class Layout:
    """Where everything stands on the paper.

    Attributes:
        size: width and height of the paper, in pixels.
        cells: by row and column, the left, upper, right and lower edge of a picture, as Pillow has them.
        lines: of text.
    """

    size: tuple[int, int]
    cells: tuple[tuple[Box, ...], ...]
    lines: tuple[Line, ...]


def draw_layout(images: Sequence[Sequence[Image.Image]], layout: Layout) -> Image.Image:
    """Put pictures and text in their places: each picture pixel by pixel as it is.

    Args:
        images: by row and column, of the sizes that the layout was made for.
        layout: of `lay_out`.
    """
    paper = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(paper)
    for line in layout.lines:
        draw.text(line.place, line.text, line.ink, _font(line.size), line.anchor)
    # The pictures last: no mark of any script reaches into them.
    for row, boxes in zip(images, layout.cells, strict=True):
        for image, box in zip(row, boxes, strict=True):
            paper.paste(image.convert("RGB"), box)
    return paper


def lay_out(
    sizes: Sequence[Sequence[tuple[int, int]]],
    columns: Sequence[str],
    rows: Sequence[str] = ("",),
    title: str = "",
) -> Layout:
    """Decide where pictures and text stand.

    A column is as wide as its widest picture, a row as high as its highest, and pictures stand in their middle.
    The type grows with the pictures; labels are wrapped to at most three lines, and shortened where that is too
    little. It is Pillow's own, which has the letters of ASCII: accents are dropped, other scripts show as boxes.

    Args:
        sizes: width and height of each picture, by row and column.
        columns: a label for each column; any text.
        rows: a label for each row; any text.
        title: any text; none leaves no room for it.
    """
    type_size = _type_size(max(max(size) for row in sizes for size in row))
    title_size = round(1.35 * type_size)
    margin, gap = 2 * type_size, max(4, round(0.45 * type_size))
    line, title_line = _line_height(type_size), _line_height(title_size)

    # How wide: a column takes a short word of label even where its pictures are tiny.
    widths = [max(6 * type_size, *(size[0] for size in column)) for column in zip(*sizes, strict=True)]
    above = [
        _wrapped(label, type_size, width, LABEL_LINES) for label, width in zip(columns, widths, strict=True)
    ]
    widest_label = max(9 * type_size, round(0.6 * max(widths)))
    beside = [_wrapped(label, type_size, widest_label, LABEL_LINES) for label in rows]
    label_width = max(_width(text, type_size) for texts in beside for text in [*texts, ""])
    left = margin + (label_width + type_size if label_width else 0)
    lefts = _starts(left, widths, gap)
    right = lefts[-1] + widths[-1]

    # How high.
    heading = _wrapped(title, title_size, max(right - margin, 18 * type_size), TITLE_LINES)
    heights = [
        max(line * len(texts), *(size[1] for size in row)) for row, texts in zip(sizes, beside, strict=True)
    ]
    labels_top = margin + (len(heading) * title_line + type_size if heading else 0)
    most = max(len(texts) for texts in above)
    tops = _starts(labels_top + (most * line + gap if most else 0), heights, gap)
    bottom = tops[-1] + heights[-1]

    cells = tuple(
        tuple(_centred(size, x, y, width, height) for size, x, width in zip(row, lefts, widths, strict=True))
        for row, y, height in zip(sizes, tops, heights, strict=True)
    )
    lines = [
        Line(text, (margin, margin + index * title_line), "la", title_size, INK)
        for index, text in enumerate(heading)
    ]
    for texts, x, width in zip(above, lefts, widths, strict=True):
        start = labels_top + (most - len(texts)) * line  # the last line next to the pictures
        lines += _stacked(texts, x + width // 2, start, "ma", type_size)
    for texts, y, height in zip(beside, tops, heights, strict=True):
        start = y + (height - len(texts) * line) // 2
        lines += _stacked(texts, left - type_size, start, "ra", type_size)
    widest = max([right, *(margin + _width(text, title_size) for text in heading)])
    return Layout((widest + margin, bottom + margin), cells, tuple(lines))


def _type_size(side: int) -> int:
    """Pixels: 12 beside pictures of 128, 22 beside those of 512."""
    return min(max(round(8.5 + side / 38), 11), 40)


def _line_height(type_size: int) -> int:
    return round(1.25 * type_size)


def _starts(first: int, lengths: Sequence[int], gap: int) -> list[int]:
    """Where each of several lengths in a row begins."""
    return [*accumulate((length + gap for length in lengths[:-1]), initial=first)]


def _centred(size: tuple[int, int], x: int, y: int, width: int, height: int) -> Box:
    left, top = x + (width - size[0]) // 2, y + (height - size[1]) // 2
    return left, top, left + size[0], top + size[1]


def _stacked(texts: Sequence[str], x: int, y: int, anchor: str, size: int) -> list[Line]:
    return [
        Line(text, (x, y + index * _line_height(size)), anchor, size, QUIET_INK)
        for index, text in enumerate(texts)
    ]


def _wrapped(text: str, type_size: int, width: int, most: int) -> list[str]:
    """Break a text into at most so many lines, none wider than `width`; a text of blanks has none.

    Words stay whole where they fit.
    """
    words = _in_type(text[:LONGEST]).split()
    lines = list[str]()
    while words and len(lines) <= most:
        count = _how_many_fit(words, " ", type_size, width)
        if count == 0:  # a word wider than the line
            letters = max(1, _how_many_fit(words[0], "", type_size, width))
            words[:1] = filter(None, (words[0][:letters], words[0][letters:]))
            count = 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if len(lines) > most:
        last = lines[most - 1]
        while last and _width(last + ELLIPSIS, type_size) > width:
            last = last[:-1]
        lines[most - 1 :] = [last.rstrip() + ELLIPSIS]
    return lines


def _in_type(text: str) -> str:
    """A text as far as Pillow's own type can show it: accents dropped, blanks for what is not printable."""
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isprintable() else " " for letter in letters)


def _how_many_fit(parts: Sequence[str], glue: str, type_size: int, width: int) -> int:
    """How many of the parts, from the first on, stand beside one another in the width."""
    for count in range(1, len(parts) + 1):
        if _width(glue.join(parts[:count]), type_size) > width:
            return count - 1
    return len(parts)


def _width(text: str, type_size: int) -> int:
    return round(_font(type_size).getlength(text) + 0.5)


@cache
def _font(type_size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(type_size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # which Pillow gives whenever a size is named
    return font
