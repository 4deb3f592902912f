"""Measures what the model card says: how often a drawing shows what was asked, how well the VAE restores."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from . import captions, dataset, judge, sheets, train_vae
from .draw import Artist
from .judge import Judge
from .picture import render

SEEDS = 40_000_000
UNSEEN = 128  # renders to restore
#: How few steps are drawn, with the LCM-LoRA and without: sampler, steps, guidance. The last are the default ones.
FEW_STEPS = (
    (True, "lcm", 2, 1.0),
    (True, "lcm", 4, 1.0),
    (True, "lcm", 8, 1.0),
    (True, "tcd", 4, 1.0),
    (False, "lcm", 4, 1.0),
    (False, "lcm", 4, 3.0),
    (False, "dpmpp_2m", 16, 3.0),
)


def evaluate(artist: Artist, critic: Judge, count: int, sheet: Path, **settings: object) -> dict[str, float]:
    """Draw `count` pictures of unseen seeds and captions, have them judged, and show the first of them.

    Settings are those of `Artist.draw`. The figures are shares from 0 to 1: the drawings with the right subject,
    and with the right colour, and the judge's mean confidence in the right subject; and how strong edges are relative
    to renders of the same, since the judge does not mind a blur.
    """
    pictures = [judge.asked(SEEDS + index) for index in range(count)]
    prompts = [captions.caption_of(picture, SEEDS) for picture in pictures]
    drawn = artist.draw_all(prompts, range(SEEDS, SEEDS + count), **settings)
    parts = [pictures[start : start + dataset.BATCH] for start in range(0, count, dataset.BATCH)]
    rendered = torch.cat([render(part, drawn.shape[-1]) for part in parts])
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
        "edges": edges(drawn) / edges(rendered),
    }


def edges(images: Float[Tensor, "batch 3 height width"]) -> float:
    """The mean difference between neighbouring pixels: low where pictures are blurred or bare."""
    return (images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()).item()


def few_steps(
    plain: Artist, distilled: Artist, critic: Judge, count: int, run: Path
) -> Iterator[tuple[str, dict[str, float]]]:
    """What `evaluate` finds in a few steps, with the LCM-LoRA and without; each sampler at its usual timesteps."""
    for with_lora, sampler, steps, guidance in FEW_STEPS:
        settings = {"sampler": sampler, "steps": steps, "guidance": guidance, "spacing": None}
        name = f"{'LCM-LoRA' if with_lora else 'without it'}, {sampler}, {steps} steps, guidance {guidance:g}"
        sheet = run / f"{'lcm' if with_lora else 'plain'}-{sampler}-{steps}-{guidance:g}.png"
        yield name, evaluate(distilled if with_lora else plain, critic, count, sheet, **settings)


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
