"""Measures what the model card says: how often a drawing shows what was asked, how well the VAE restores."""

from collections import Counter
from pathlib import Path

from . import captions, dataset, judge, sheets, train_vae
from .draw import Artist

SEEDS = 40_000_000
UNSEEN = 128  # renders to restore


def evaluate(run: Path, count: int, **settings: object) -> dict[str, float]:
    """Draw `count` pictures of unseen seeds and captions, have them judged, and restore unseen renders."""
    artist, critic = Artist.of(run), judge.load(run)
    pictures = [judge.asked(SEEDS + index) for index in range(count)]
    prompts = [captions.caption_of(picture, SEEDS) for picture in pictures]
    drawn = artist.draw_all(prompts, range(SEEDS, SEEDS + count), **settings)
    subject, colour = critic(drawn)
    right_subject, right_colour = judge.answers(pictures)
    hit, tinted = subject.argmax(1) == right_subject, colour.argmax(1) == right_colour
    judged = zip(pictures, hit.tolist(), strict=True)
    missed = Counter(picture.subject for picture, right in judged if not right)
    print("subjects missed most:", ", ".join(f"{name} {times}" for name, times in missed.most_common(12)))
    sheets.save(drawn[:64], run / "evaluation.png")
    judged_subject, judged_colour = judge.accuracy(critic)
    return {
        "subject": hit.float().mean().item(),
        "colour": tinted.float().mean().item(),
        "confidence": subject.softmax(1).gather(1, right_subject[:, None]).mean().item(),
        "judge on subjects": judged_subject,
        "judge on colours": judged_colour,
        "psnr": train_vae.psnr(artist.vae, dataset.unseen(1000, UNSEEN)),
    }


def compare(run: Path, count: int) -> None:
    """Try the settings that could be the defaults, on fewer pictures each."""
    for steps in (20, 30, 50):
        for guidance in (2.0, 3.0, 4.0, 6.0):
            for spacing in ("linspace", "trailing"):
                figures = evaluate(run, count, steps=steps, guidance=guidance, spacing=spacing)
                shown = {name: round(value, 3) for name, value in figures.items()}
                print(steps, guidance, spacing, shown, flush=True)
