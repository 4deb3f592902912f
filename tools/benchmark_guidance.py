"""What a guidance interval saves: seconds of a whole picture, guided everywhere, within the interval, and not at all.

    uv run python -m tools.benchmark_guidance [--full] [--runs 5] [--steps 25] [--sampler "DPM++ 2M Karras"]

The model in the box, and with --full one of Stable Diffusion v1.5's size with random weights, at 512x512 in float32.
The three take turns in one process, so that a busy machine slows all of them alike; the figures are medians, from
prompt to pixels. A step outside of the interval predicts once where a guided one predicts twice: the last column is
what would be left if predictions were all that took time. The interval is the paper's for Stable Diffusion XL
(Kynkaanniemi et al. 2024, arXiv 2404.07724), whose noise levels are these models' own.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
from inkpunk import Pipeline, Request
from inkpunk_sampling import SAMPLERS

from tools.make_checkpoint import make_checkpoint

INTERVAL = (0.28, 5.42)


def ways(request: Request, scale: float) -> dict[str, Request]:
    """The same picture's request, guided in three ways."""
    return {
        "everywhere": replace(request, guidance=scale),
        "interval": replace(request, guidance=scale, guidance_interval=INTERVAL),
        "none": replace(request, guidance=1.0),
    }


def compare(pipeline: Pipeline, request: Request, runs: int) -> dict[str, float]:
    """Medians of seconds by way; the first turn warms up and is left out."""
    seconds: dict[str, list[float]] = {}
    for turn in range(runs + 1):
        for way, asked in ways(request, scale=7.5).items():
            start = time.perf_counter()
            pipeline.generate(asked)
            if turn:
                seconds.setdefault(way, []).append(time.perf_counter() - start)
    return {way: median(each) for way, each in seconds.items()}


def predictions(pipeline: Pipeline, request: Request) -> float:
    """How many predictions the interval leaves, of those that guidance everywhere takes."""
    low, high = INTERVAL
    path = pipeline.plan(request).path[:-1]
    inside = sum(low < pipeline.schedule.sigma(t) <= high for t in path)
    return (len(path) + inside) / (2 * len(path))


def row(name: str, pipeline: Pipeline, request: Request, runs: int) -> str:
    """One row of the table."""
    seconds = compare(pipeline, request, runs)
    ratios = [seconds[way] / seconds["everywhere"] for way in ("interval", "none")]
    cells = [
        name,
        *(f"{each:.2f} s" for each in seconds.values()),
        *(f"{ratio:.2f}x" for ratio in ratios),
        f"{predictions(pipeline, request):.2f}x",
    ]
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option(
    "--full", is_flag=True, help="Also measure full-size random weights: minutes a picture on a CPU."
)
@click.option("--runs", default=5, show_default=True, help="Pictures of each way.")
@click.option("--steps", default=25, show_default=True)
@click.option(
    "--sampler", default="DPM++ 2M Karras", show_default=True, help="One that predicts once a step."
)
def main(full: bool, runs: int, steps: int, sampler: str) -> None:
    """Print the table."""
    request = Request("nvinkpunk raven, neon green splash", seeds=(1,), steps=steps, sampler=sampler)
    if SAMPLERS[request.named_sampler()[0]].calls != 1:
        raise click.UsageError(f"--sampler {sampler}: predicts more than once a step; name another")
    print(f"{steps} steps, {sampler}; guided at sigmas in ({INTERVAL[0]}, {INTERVAL[1]}]")
    print("| model | everywhere | interval | no guidance | interval | no guidance | interval's predictions |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(row("sketch", Pipeline.load("sketch", device="cpu"), request, runs), flush=True)
    if full:
        with tempfile.TemporaryDirectory() as home:
            path = Path(home) / "random.safetensors"
            make_checkpoint(path, size="full", seed=0)
            print(row("full size", Pipeline.load(path, device="cpu"), request, runs), flush=True)


if __name__ == "__main__":
    main()
