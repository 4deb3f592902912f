"""What drawing pictures together saves, beside drawing each by itself, on a CPU.

    uv run python -m tools.benchmark_batch [--full] [--runs 5]

The model in the box at 128x128, and with --full one of Stable Diffusion v1.5's size with random weights at 256x256
and 512x512: a guided step of two pictures in one batch, and of the two apart, in turns in one process; medians.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from unittest.mock import patch

import click
from inkpunk import Pipeline, Request

from tools.make_checkpoint import make_checkpoint


def seconds(runs: int, *drawings: Iterator[object]) -> list[float]:
    """Of each drawing the median of a step; they take turns, and the first turn is left out."""
    times: list[list[float]] = [[] for _ in drawings]
    for turn in range(runs + 1):
        for drawing, each in zip(drawings, times, strict=True):
            start = time.perf_counter()
            next(drawing)
            if turn:
                each.append(time.perf_counter() - start)
    return [median(each) for each in times]


def measure(name: str, pipeline: Pipeline, size: int, runs: int) -> str:
    """The row of a model at a size."""
    request = Request(
        "nvinkpunk raven", seeds=(1, 2), steps=2 * (runs + 1), sampler="euler", width=size, height=size
    )

    def drawing(alone: bool) -> Iterator[object]:
        with patch("inkpunk.pipeline.draws_alone", return_value=alone):
            steps = iter(pipeline.run(request))
            yield next(steps)  # by now it is decided
        yield from steps

    batch, apart = seconds(runs, drawing(alone=False), drawing(alone=True))
    alone = seconds(runs, iter(pipeline.run(replace(request, seeds=(1,)))))[0]
    return (
        f"| {name} | {size}x{size} | {alone:.3f} s | {batch:.3f} s | {apart:.3f} s | {apart / batch:.2f}x |"
    )


@click.command()
@click.option("--full", is_flag=True, help="Also measure full-size random weights: some minutes on a CPU.")
@click.option("--runs", default=5, show_default=True, help="Steps of each way.")
def main(full: bool, runs: int) -> None:
    """Print the table."""
    print("| model | size | one picture | two together | two apart | apart to together |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(measure("sketch", Pipeline.load("sketch", device="cpu"), 128, 8 * runs), flush=True)
    if full:
        with tempfile.TemporaryDirectory() as home:
            path = Path(home) / "random.safetensors"
            make_checkpoint(path, size="full", seed=0)
            pipeline = Pipeline.load(path, device="cpu")
            for size in (256, 512):
                print(measure("full size", pipeline, size, runs), flush=True)


if __name__ == "__main__":
    main()
