"""What `--deterministic` costs, and what a busy machine does to the model in the box, by numbers of threads.

    uv run python -m tools.benchmark_deterministic [--runs 3] [--count 8] [--busy 0] [--torch-first]

The model in the box at its own size, a number of pictures in one request, 16 steps: as usual, deterministic, and with
the threads of a pass left to torch (`--without threads`), in turns in one process. `--busy` keeps so many processes
counting beside it. `--torch-first` loads torch before inkpunk, as many programs do: then OpenMP's threads spin while
they wait. Processor seconds count what all threads took; medians.
"""

import subprocess
import sys
import time
from importlib import import_module
from statistics import median
from typing import Any

import click

# Until its parent is gone: one that is killed ends no children.
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


def timed(pipeline: Any, request: Any) -> tuple[float, float]:
    """Seconds on the clock, and of processors."""
    clock, processor = time.perf_counter(), time.process_time()
    pipeline.generate(request)
    return time.perf_counter() - clock, time.process_time() - processor


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--count", default=8, show_default=True, help="Pictures of a request.")
@click.option("--steps", default=16, show_default=True)
@click.option("--busy", default=0, show_default=True, help="Other processes that are busy meanwhile.")
@click.option("--torch-first", is_flag=True, help="Load torch first.")
def main(runs: int, count: int, steps: int, busy: int, torch_first: bool) -> None:
    """Print the table."""
    if torch_first:
        import_module("torch")  # before inkpunk, which is what is measured
    from inkpunk import Pipeline, Request
    from inkpunk.speed import Speed

    ways = {
        "as usual": Pipeline.load(device="cpu"),
        "deterministic": Pipeline.load(device="cpu", deterministic=True),
        "without threads": Pipeline.load(device="cpu", speed=Speed(threads=False)),
    }
    request = Request("nvinkpunk raven", seeds=tuple(range(count)), steps=steps)
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(busy)]
    try:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for turn in range(runs + 1):
            for name, pipeline in ways.items():
                taken = timed(pipeline, request)
                if turn:
                    times[name].append(taken)
    finally:
        for each in others:
            each.kill()
    usual = [median(each) for each in zip(*times["as usual"], strict=True)]
    print(
        f"| {count} pictures, {busy} busy beside | on the clock | processor | to usual: clock | processor |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, taken in times.items():
        clock, processor = (median(each) for each in zip(*taken, strict=True))
        ratios = f"{clock / usual[0]:.2f}x | {processor / usual[1]:.2f}x"
        print(f"| {name} | {clock:.2f} s | {processor:.2f} s | {ratios} |")


if __name__ == "__main__":
    main()
