"""An independent judge: a small classifier of subject and colour, trained on renders and nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import captions, dataset, runs
from .picture import Picture, render
from .subjects import COLOURS, SUBJECTS, WITH_NEWCOMER
from .workers import average

WEIGHTS = Path(__file__).with_name("judge.safetensors")
WITH_NEWCOMER_WEIGHTS = WEIGHTS.with_name("judge-newcomer.safetensors")
#: The judge's pictures: neither the generator's nor the held-out ones.
SEEDS = 20_000_000
HELD_OUT = 30_000_000
JUDGED = 1024  # held-out renders to count its mistakes on
BATCH = 16
PEAK = 2e-3
SIDE = 64  # the judge looks at pictures of half the size


class Judge(nn.Module):
    """Five convolutions, then a linear layer each for subject and colour."""

    def __init__(self, subjects: Iterable[str] = SUBJECTS) -> None:
        """Build it, untrained, to tell these subjects apart."""
        super().__init__()
        self.subjects = list(subjects)
        widths = (3, 24, 48, 96, 128, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1))
        width = 128 * (SIDE // 32) ** 2
        self.subject = nn.Linear(width, len(self.subjects))
        self.colour = nn.Linear(width, len(COLOURS))

    def forward(self, images: Float[Tensor, "batch 3 128 128"]) -> tuple[Tensor, Tensor]:
        """Log-likelihoods of the subjects and of the colours, unnormalised."""
        features = self.features(F.interpolate(images, (SIDE, SIDE), mode="area"))
        return self.subject(features), self.colour(features)


def asked(seed: int, subjects: Iterable[str] = SUBJECTS) -> Picture:
    """A picture in ink with one colour, as the judge sees them."""
    picture = captions.imagine(seed, subjects)
    colour = picture.colours[:1] or (list(COLOURS)[seed % len(COLOURS)],)
    return replace(picture, inked=True, colours=colour)


def answers(pictures: Sequence[Picture], subjects: Iterable[str] = SUBJECTS) -> tuple[Tensor, Tensor]:
    """The right subjects and colours, by number."""
    subjects, colours = list(subjects), list(COLOURS)
    return (
        torch.tensor([subjects.index(picture.subject) for picture in pictures]),
        torch.tensor([colours.index(picture.colours[0]) for picture in pictures]),
    )


def _disturbed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur and noise of random strength: a judge should not care how crisp a picture is."""
    if rng.random() < 0.5:
        images = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")
    noise = torch.from_numpy(rng.standard_normal(images.shape, np.float32))
    return images + float(rng.uniform(0, 0.15)) * noise


def train(rank: int, workers: int, run: Path, minutes: float, newcomer: bool = False) -> None:
    """Train, or go on training, until the budget is spent; the weights are in `judge.pt` or `judge-newcomer.pt`."""
    torch.manual_seed(1)
    judge = Judge(WITH_NEWCOMER if newcomer else SUBJECTS)
    optimiser = torch.optim.AdamW(judge.parameters(), PEAK, weight_decay=0.02)
    progress = runs.Progress(minutes * 60)
    path = _kept(run, newcomer)
    if path.exists():
        saved = runs.read(path)
        judge.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        progress.restore(saved["progress"])
    share = torch.tensor(progress.share)
    while share < 1:
        rng = np.random.default_rng([3, progress.step, rank])
        first = SEEDS + (progress.step * workers + rank) * BATCH
        pictures = [asked(seed, judge.subjects) for seed in range(first, first + BATCH)]
        subject, colour = judge(_disturbed(render(pictures), rng))
        right_subject, right_colour = answers(pictures, judge.subjects)
        loss = F.cross_entropy(subject, right_subject) + F.cross_entropy(colour, right_colour)
        optimiser.zero_grad()
        loss.backward()
        average(p.grad for p in judge.parameters())
        for group in optimiser.param_groups:
            group["lr"] = progress.rate(PEAK, decay_from=0.5)
        optimiser.step()
        progress.advance()
        share = torch.tensor(progress.share)
        average([share])
        if rank == 0:
            progress.note(loss=loss.item())
            if progress.save_is_due() or share >= 1:
                content = {
                    "weights": judge.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "progress": progress.state(),
                }
                runs.write(path, content)
    if rank == 0:
        subject, colour = accuracy(of(run, newcomer))
        runs.tell(f"judge: {subject:.1%} of subjects, {colour:.1%} of colours right on held-out renders")


def of(run: Path, newcomer: bool = False) -> Judge:
    """The trained judge of a run, or the one that knows the newcomer, too."""
    return _with(runs.read(_kept(run, newcomer))["weights"])


def _kept(run: Path, newcomer: bool) -> Path:
    return run / ("judge-newcomer.pt" if newcomer else "judge.pt")


def export(judge: Judge, path: Path = WEIGHTS) -> None:
    """Keep a judge beside this file, so that anybody can measure the model that is shipped."""
    save_file({name: tensor.half() for name, tensor in judge.state_dict().items()}, path)


def shipped(path: Path = WEIGHTS) -> Judge:
    """The judge that lies beside this file."""
    return _with({name: tensor.float() for name, tensor in load_file(path).items()})


def _with(weights: dict[str, Tensor]) -> Judge:
    known = len(weights["subject.bias"])  # the newcomer is the last
    judge = Judge(list(WITH_NEWCOMER)[:known]).eval().requires_grad_(False)
    judge.load_state_dict(weights)
    return judge


@torch.no_grad()
def accuracy(judge: Judge, subjects: Iterable[str] | None = None) -> tuple[float, float]:
    """The share of subjects and of colours it gets right on renders it never saw, of all subjects or of some."""
    judge.eval()
    right = torch.zeros(2)
    for start in range(0, JUDGED, dataset.BATCH):
        seeds = range(HELD_OUT + start, HELD_OUT + start + dataset.BATCH)
        pictures = [asked(seed, judge.subjects if subjects is None else subjects) for seed in seeds]
        truths = answers(pictures, judge.subjects)
        for kind, (scores, truth) in enumerate(zip(judge(render(pictures)), truths, strict=True)):
            right[kind] += (scores.argmax(1) == truth).sum()
    return tuple((right / JUDGED).tolist())
