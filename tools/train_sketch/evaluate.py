"""Measures what the model card says: how often a drawing shows what was asked, how well the VAE restores."""

from collections import Counter
from pathlib import Path

import torch

from . import captions, dataset, judge, sheets, train_vae
from .draw import Artist
from .judge import Judge

SEEDS = 40_000_000
UNSEEN = 128  # renders to restore


def evaluate(artist: Artist, critic: Judge, count: int, sheet: Path, **settings: object) -> dict[str, float]:
    """Draw `count` pictures of unseen seeds and captions, have them judged, and show the first of them.

    Settings are those of `Artist.draw`. The figures are shares from 0 to 1: the drawings with the right subject,
    and with the right colour, and the judge's mean confidence in the right subject.
    """
    pictures = [judge.asked(SEEDS + index) for index in range(count)]
    prompts = [captions.caption_of(picture, SEEDS) for picture in pictures]
    drawn = artist.draw_all(prompts, range(SEEDS, SEEDS + count), **settings)
    with torch.no_grad():
        subject, colour = critic(drawn)
    right_subject, right_colour = judge.answers(pictures)
    hit, tinted = subject.argmax(1) == right_subject, colour.argmax(1) == right_colour
    judged = zip(pictures, hit.tolist(), strict=True)
    missed = Counter(picture.subject for picture, right in judged if not right)
    print("subjects missed most:", ", ".join(f"{name} {times}" for name, times in missed.most_common(12)))
    sheets.save(drawn[:64], sheet)
    return {
        "subject": hit.float().mean().item(),
        "colour": tinted.float().mean().item(),
        "confidence": subject.softmax(1).gather(1, right_subject[:, None]).mean().item(),
    }


def trust(artist: Artist, critic: Judge) -> dict[str, float]:
    """How often the judge is right on renders it never saw, and the VAE's PSNR in decibels on such renders."""
    subject, colour = judge.accuracy(critic)
    psnr = train_vae.psnr(artist.vae, dataset.unseen(1000, UNSEEN))
    return {"judge's subject": subject, "judge's colour": colour, "psnr": psnr}


def compare(artist: Artist, critic: Judge, count: int, sheet: Path) -> None:
    """Try the settings that could be the defaults, on fewer pictures each."""
    for steps in (20, 30):
        for guidance in (2.0, 4.0, 6.0):
            for spacing in ("linspace", "trailing"):
                settings = {"steps": steps, "guidance": guidance, "spacing": spacing}
                figures = evaluate(artist, critic, count, sheet, **settings)
                print(settings, {name: round(value, 3) for name, value in figures.items()}, flush=True)
