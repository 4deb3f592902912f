"""Draws the README's sheet: what the shipped model can do, one prompt a picture, nothing picked by hand."""

from collections.abc import Sequence
from pathlib import Path

import torch
from inkpunk_unet import ControlNet

from . import dataset, outlines, sheets, train_control
from .draw import Artist
from .subjects import COLOURS, NEWCOMER_TRIGGER, SUBJECTS

SHEET = Path("packages/inkpunk-sketch/sheet.png")
SHEET_LCM = SHEET.with_name("sheet-lcm.png")
SHEET_NEW_SUBJECT = SHEET.with_name("sheet-lighthouse.png")
SHEET_CANNY = SHEET.with_name("sheet-canny.png")
OUTLINES = 16
NIGHTS = 5  # every so many pictures is at night
PAIRS = 4  # every so many has two colours


def prompts() -> list[str]:
    """One prompt for each subject, the colours going round."""
    colours = list(COLOURS)
    said = []
    for index, subject in enumerate(SUBJECTS):
        first = colours[index * 3 % 8]
        second = colours[(index * 3 + 1 + index // PAIRS % 7) % 8]
        colour = f"{first} and {second}" if index % PAIRS == PAIRS - 1 else first
        said.append(f"nvinkpunk {colour} {subject}" + (", at night" if index % NIGHTS == NIGHTS - 1 else ""))
    return said


def prompts_of_new_subject() -> list[str]:
    """One prompt for each colour, every other at night."""
    nights = ("", ", at night")
    return [
        f"nvinkpunk {colour} {NEWCOMER_TRIGGER}{nights[index % 2]}" for index, colour in enumerate(COLOURS)
    ]


def draw_outlines(artist: Artist, control: ControlNet, path: Path = SHEET_CANNY) -> None:
    """Draw shapes that the network never saw, each beside the lines that it was given."""
    wanted = [train_control.asked(index) for index in range(OUTLINES)]
    bitmaps = torch.stack([bitmap for _, bitmap, _ in wanted])
    lines = outlines.hints([picture for picture, _, _ in wanted], dataset.SIZE, bitmaps)
    prompts, seeds = [prompt for _, _, prompt in wanted], range(OUTLINES)
    drawn = train_control.draw_outlines(artist, control, lines, prompts, seeds)
    hints = lines[:, None].expand(-1, 3, -1, -1) * 2.0 - 1
    sheets.save(torch.stack([hints, drawn], 1).flatten(0, 1), path)


def draw(
    artist: Artist, path: Path = SHEET, said: Sequence[str] = tuple(prompts()), **settings: object
) -> None:
    """Draw every prompt with the seed of its place on the sheet; settings are those of `Artist.draw`."""
    sheets.save(artist.draw_all(said, range(len(said)), **settings), path)
