"""Which sampler and spacing draw the best pictures for so many calls of the UNet, on the model in the box.

    uv run python -m tools.choose_sampler --out runs/choose.csv --pictures 8
    uv run python -m tools.choose_sampler --out runs/choose.csv --pictures 64 --sampler dpmpp_2m --spacing karras

Unseen seeds and captions are drawn with every setting, and three things are measured:

- what the judge says: the shares of right subjects and colours, and its mean confidence in the right subject;
- distance: of a deterministic sampler, how far the latents of the first pictures are from those that the same seeds
  converge to (many steps of Heun's method), as RMS relative to their own;
- detail: the same pictures' variance between neighbouring latents, relative to the converged ones'; below 1 they are
  blurred, above 1 noise is left. It can tell of samplers that draw noise, too, whose pictures are others.

Every row goes to a CSV file at once, and what is in it is not drawn again: a run may be stopped, and prolonged.
"""

import csv
import time
from dataclasses import asdict, astuple, dataclass, fields
from itertools import groupby, product
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from inkpunk import Pipeline
from inkpunk_sampling import SAMPLERS, brownian_path, guide, sample, seeded_noise
from safetensors.torch import load_file, save_file
from torch import Tensor

from tools.train_sketch import captions, judge
from tools.train_sketch.evaluate import SEEDS

CHOSEN = [name for name, method in SAMPLERS.items() if method.order]  # not those made for distilled models
SPACED = (
    *("karras", "exponential", "kl_optimal", "ays", "beta"),
    *("uniform", "linspace", "leading", "trailing", "sgm_uniform"),
)
CALLS = (6, 8, 10, 12, 16, 20, 25)
FORMER = (("ddpm", "linspace", 25), ("ddpm", "linspace", 50))
CONVERGED = ("heun", "karras", 199)


@dataclass(frozen=True)
class Setting:
    """What tells a row from the others; `budget` is how many calls there may be."""

    sampler: str
    spacing: str
    budget: int
    guidance: float
    pictures: int


@dataclass(frozen=True)
class Row(Setting):
    """A setting, and what was measured; the distance is not a number where there is none."""

    steps: int
    calls: int
    subject: float
    colour: float
    confidence: float
    detail: float
    distance: float
    seconds: float


class Drawing:
    """The pictures that every setting draws."""

    def __init__(self, pipeline: Pipeline, count: int, guidance: float):
        """Imagine `count` pictures."""
        self.pipeline, self.guidance = pipeline, guidance
        self.seeds = range(SEEDS, SEEDS + count)
        imagined = [judge.asked(seed) for seed in self.seeds]
        self.right = judge.answers(imagined)
        prompts = [captions.caption_of(picture, SEEDS) for picture in imagined]
        self.context = pipeline.encode_prompts([*[""] * count, *prompts])

    def draw(self, sampler: str, spacing: str, budget: int, count: int) -> tuple[Tensor, int]:
        """The first `count` pictures' latents, and how often the UNet was called for them."""
        calls, context = 0, torch.cat([half[:count] for half in self.context.chunk(2)])

        def predict(latents: Tensor, timestep: float) -> Tensor:
            nonlocal calls
            calls += 1
            return self.pipeline.predict(latents, timestep, context)

        side = self.pipeline.defaults.size // 8
        seeds, shape, schedule = self.seeds[:count], (4, side, side), self.pipeline.schedule
        *_, last = sample(
            guide(predict, self.guidance),
            seeded_noise(seeds, shape),
            schedule,
            sampler=sampler,
            steps=steps_of(sampler, budget),
            spacing=spacing,
            brownian=brownian_path(seeds, shape, schedule),
        )
        return last.latents, calls

    def judged(self, critic: judge.Judge, latents: Tensor) -> tuple[float, float, float]:
        """The shares of right subjects and colours, and the judge's mean confidence in the right subject."""
        with torch.no_grad():
            subject, colour = critic(self.pipeline.decode(latents).clamp(-1, 1))
        right_subject, right_colour = self.right
        hit, tinted = subject.argmax(1) == right_subject, colour.argmax(1) == right_colour
        confidence = subject.softmax(1).gather(1, right_subject[:, None])
        return hit.float().mean().item(), tinted.float().mean().item(), confidence.mean().item()


def measure(drawing: Drawing, critic: judge.Judge, setting: Setting, converged: Tensor) -> Row:
    """Draw with a setting and look at what came out."""
    start = time.perf_counter()
    latents, calls = drawing.draw(setting.sampler, setting.spacing, setting.budget, setting.pictures)
    seconds = time.perf_counter() - start
    some = latents[: len(converged)]
    away = (some - converged).square().mean((1, 2, 3)) / converged.square().mean((1, 2, 3))
    distance = float("nan") if SAMPLERS[setting.sampler].stochastic else away.sqrt().mean().item()
    detail = (roughness(some) / roughness(converged)).item()
    return Row(
        *astuple(setting),
        steps=steps_of(setting.sampler, setting.budget),
        calls=calls,
        **dict(zip(("subject", "colour", "confidence"), drawing.judged(critic, latents), strict=True)),
        detail=detail,
        distance=distance,
        seconds=seconds,
    )


def roughness(latents: Tensor) -> Tensor:
    """The variance of latents about the mean of their neighbourhood of 3 by 3."""
    return (latents - F.avg_pool2d(latents, 3, 1, 1, count_include_pad=False)).square().mean()


def draw_converged(drawing: Drawing, count: int, out: Path) -> Tensor:
    """What the first pictures converge to; kept beside the CSV file."""
    path = out.with_name(f"{out.stem}-guidance-{drawing.guidance:g}-converged-{count}.safetensors")
    if not path.exists():
        save_file({"latents": drawing.draw(*CONVERGED, count)[0].contiguous()}, path)
    return load_file(path)["latents"]


def read(out: Path) -> list[Row]:
    """The rows that there are."""
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return [
            Row(**{each.name: each.type(row[each.name]) for each in fields(Row)})  # type: ignore[operator]
            for row in csv.DictReader(file)
        ]


def write(out: Path, row: Row) -> None:
    """Add a row, and the head of the table above the first."""
    new = not out.exists()
    with out.open("a", newline="") as file:
        table = csv.DictWriter(file, [each.name for each in fields(Row)])
        if new:
            table.writeheader()
        table.writerow(asdict(row))


def steps_of(sampler: str, budget: int) -> int:
    """As many as need no more calls: the last step of a sampler with several takes one."""
    calls = SAMPLERS[sampler].calls
    return (budget + calls - 1) // calls


def show(rows: list[Row], limit: int) -> None:
    """A table for each budget: the deterministic ones by distance, then the others by how true their detail is."""

    def kind(row: Row) -> tuple[int, bool]:
        return row.budget, SAMPLERS[row.sampler].stochastic

    for (budget, stochastic), some in groupby(sorted(rows, key=kind), kind):
        print(f"\n{budget} calls, {'with noise' if stochastic else 'deterministic'}:\n")
        print("| sampler | spacing | steps | calls | subject | colour | confidence | detail | distance |")
        print("| --- " * 9 + "|")
        best = sorted(some, key=lambda row: abs(row.detail - 1) if stochastic else row.distance)
        for row in best[:limit]:
            cells = [
                row.sampler,
                row.spacing,
                row.steps,
                row.calls,
                f"{row.subject:.1%}",
                f"{row.colour:.1%}",
            ]
            cells += [
                f"{row.confidence:.3f}",
                f"{row.detail:.2f}",
                "" if stochastic else f"{row.distance:.4f}",
            ]
            print("|", *(f"{cell} |" for cell in cells))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="CSV file, read and prolonged.")
@click.option("--pictures", default=8, show_default=True, help="For each setting.")
@click.option("--compared", default=8, show_default=True, help="How many of them also converge.")
@click.option("--guidance", type=float, help="[default: as the model prefers]")
@click.option("--sampler", "samplers", type=click.Choice(CHOSEN), multiple=True, default=CHOSEN)
@click.option("--spacing", "spacings", type=click.Choice(SPACED), multiple=True, default=SPACED)
@click.option("--calls", "budgets", type=int, multiple=True, default=CALLS, show_default=True)
@click.option("--rows", default=20, show_default=True, help="To print of each table.")
@click.option("--threads", type=int, help="[default: torch's own choice]")
def main(
    out: Path,
    pictures: int,
    compared: int,
    guidance: float | None,
    samplers: tuple[str, ...],
    spacings: tuple[str, ...],
    budgets: tuple[int, ...],
    rows: int,
    threads: int | None,
) -> None:
    """Draw with every setting that is not in the CSV file yet, then print the tables of all that are."""
    if threads:
        torch.set_num_threads(threads)
    pipeline, critic = Pipeline.load("sketch", device="cpu"), judge.shipped()
    drawing = Drawing(pipeline, pictures, pipeline.defaults.guidance if guidance is None else guidance)
    grid = product(samplers, spacings, budgets)
    settings = [Setting(*each, drawing.guidance, pictures) for each in (*FORMER, *grid)]
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {Setting(*astuple(row)[: len(fields(Setting))]) for row in read(out)}
    missing = [setting for setting in dict.fromkeys(settings) if setting not in known]
    converged = draw_converged(drawing, min(compared, pictures), out)
    with click.progressbar(missing, item_show_func=str, show_pos=True) as bar:
        for setting in bar:
            write(out, measure(drawing, critic, setting, converged))
    alike = [row for row in read(out) if (row.pictures, row.guidance) == (pictures, drawing.guidance)]
    show(alike, rows)


if __name__ == "__main__":
    main()
