"""A subject that the sketch model never saw, for a LoRA to learn: its pictures, and how well it was learned."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from . import captions, dataset, judge, sheets
from .draw import Artist
from .judge import Judge
from .picture import Picture, render
from .subjects import COLOURS, NEWCOMER, SUBJECTS

PICTURES = 20
SEEDS = 50_000_000  # of the pictures to learn from
ASKED = 60_000_000  # and of what is asked for afterwards
DRAWN, OTHERS = 100, 200


def picture(index: int) -> Picture:
    """One to learn from: the colours go round, one in five is plain, one in eight at night."""
    colour = list(COLOURS)[index % len(COLOURS)]
    inked = index % 5 < 4
    return Picture(NEWCOMER, (colour,), inked, inked and index % 8 == 5, SEEDS + index)


def write(folder: Path, count: int = PICTURES) -> None:
    """Fill a folder as trainers of LoRAs want it: pictures, and beside each a text file with its caption."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [picture(index) for index in range(count)]
    pixels = (
        ((render(pictures, dataset.SIZE) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    )
    for index, shown in enumerate(pictures):
        path = folder / f"{NEWCOMER}-{index + 1:02}.png"
        Image.fromarray(pixels[index]).save(path)
        path.with_suffix(".txt").write_text(captions.caption_of(shown, SEEDS) + "\n")


def asked(index: int, subjects: Iterable[str]) -> Picture:
    """One to ask for: in ink, of one of the subjects, the colours in turn."""
    colour = list(COLOURS)[index % len(COLOURS)]
    return replace(judge.asked(ASKED + index, subjects), colours=(colour,))


@torch.no_grad()
def evaluate(
    lora: Path, critic: Judge, folder: Path, drawn: int = DRAWN, others: int = OTHERS, **settings: object
) -> dict[str, float]:
    """Draw the newcomer with the LoRA, and the model's own subjects with and without it; sheets go to a folder.

    The figures are shares from 0 to 1, of pictures of unseen seeds and captions in which every colour has its turn.
    """
    plain, taught = Artist.shipped(), Artist.shipped().with_adapter(lora)
    newcomers = [asked(index, [NEWCOMER]) for index in range(drawn)]
    known = [asked(index, SUBJECTS) for index in range(others)]
    figures = {}
    for name, artist, pictures in (
        ("newcomer", taught, newcomers),
        ("others", taught, known),
        ("others without the LoRA", plain, known),
    ):
        prompts = [captions.caption_of(one, ASKED) for one in pictures]
        images = artist.draw_all(prompts, [one.seed for one in pictures], **settings)
        truths = judge.answers(pictures, critic.subjects)
        for kind, scores, truth in zip(("subject", "colour"), critic(images), truths, strict=True):
            figures[f"{name}: {kind}"] = (scores.argmax(1) == truth).float().mean().item()
        sheets.save(images[:64], folder / f"drawn-{name.replace(' ', '-')}.png")
    return figures


def trust(critic: Judge) -> dict[str, float]:
    """How often the judge is right on renders it never saw: of all subjects, and of the newcomer alone."""
    subject, colour = judge.accuracy(critic)
    alone, _ = judge.accuracy(critic, [NEWCOMER])
    return {"judge's subject": subject, "judge's colour": colour, "judge's newcomer": alone}
