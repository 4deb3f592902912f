"""One command for all figures of speed:

    uv run --group benchmark python -m tools.benchmark [--growth] [--picture 25] [--only step,decode]

Builds a full-size model of random weights, lets all peers do the same work in turns, each in a process of its own,
checks that they agree, and measures the machine's best float32 matrix product between the turns. Prints a table of
medians, and writes it with a plot to runs/benchmark. Alone on the machine, or the figures mean nothing.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import numpy as np
import torch

from tools.make_checkpoint import make_checkpoint
from tools.matmul_rate import matmul_rate

from . import report
from .peers import PEERS, PIPELINES, draw, load, serve
from .work import GROWTH, TABLE, Work

AGREEMENT = 1e-3  # relative to the largest value: float32 through a whole network, sums in any order


def start(target: Callable[..., None], *arguments: object) -> tuple[Connection, multiprocessing.Process]:
    """Run a function in a process of its own; what it sends comes through the connection, or EOFError if it dies."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*arguments, there), daemon=True)
    process.start()
    there.close()
    return here, process


class Worker:
    """A peer in its own process, for one piece of work."""

    def __init__(self, name: str, folder: Path, work: Work):
        """Start it, and wait until it is ready."""
        self.connection, self.process = start(serve, name, folder, work)
        self.connection.recv()

    def do(self) -> tuple[float, np.ndarray, int]:
        """Seconds, result, and peak bytes."""
        self.connection.send(True)
        return self.connection.recv()

    def stop(self) -> None:
        """Let it end."""
        self.connection.send(False)
        self.process.join()


def measure(works: list[Work], names: list[str], folder: Path, runs: int) -> report.Figures:
    """Let the peers take turns at each piece of work."""
    figures = report.Figures(names)
    for work in works:
        taking_part = [name for name in names if work in TABLE or PEERS[name].growth]
        # one after the other, those who compile first: getting ready takes twice the memory of being so
        started = {name: Worker(name, folder, work) for name in reversed(taking_part)}
        workers = {name: started[name] for name in taking_part}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        results: dict[str, np.ndarray] = {}
        peaks: dict[str, int] = dict.fromkeys(workers, 0)
        for _ in range(runs):
            for name, worker in workers.items():
                figures.rate = max(figures.rate, matmul_rate())
                spent, results[name], peak = worker.do()
                seconds[name].append(spent)
                peaks[name] = max(peaks[name], peak)
        for worker in workers.values():
            worker.stop()
        first = results[names[0]]
        for name, result in results.items():
            error = float(np.abs(result - first).max() / np.abs(first).max())
            if error > AGREEMENT:
                raise SystemExit(
                    f"{work.name}: {name} differs from {names[0]} by {error:.1e} of the largest value"
                )
        figures.seconds[work] = {name: median(times) for name, times in seconds.items()}
        figures.peaks[work] = peaks
        print(work.name, {name: [round(t, 3) for t in times] for name, times in seconds.items()}, flush=True)
    return figures


def load_times(names: list[str], folder: Path, runs: int) -> dict[str, float]:
    """Median seconds from imports that are done to a pipeline that could draw, in turns, for who has one."""
    seconds: dict[str, list[float]] = {name: [] for name in names if name in PIPELINES}
    for _ in range(runs):
        for name, times in seconds.items():
            connection, process = start(load, name, folder)
            times.append(connection.recv())
            process.join()
    return {name: median(times) for name, times in seconds.items()}


def picture(name: str, folder: Path, steps: int, size: int) -> tuple[float, int]:
    """Seconds and peak bytes of a whole picture."""
    connection, process = start(draw, name, folder, steps, size)
    figures = connection.recv()
    process.join()
    return figures


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS), help="some of: %(default)s")
    parser.add_argument(
        "--only", default="", help="kinds of work: text,step,encode,decode; none for --picture alone"
    )
    parser.add_argument("--growth", action="store_true", help="also how time grows with size and pictures")
    parser.add_argument(
        "--picture", type=int, default=0, metavar="STEPS", help="also a whole picture of so many steps"
    )
    parser.add_argument(
        "--size", choices=["full", "small"], default="full", help="small: only to try this out"
    )
    parser.add_argument("--model", type=Path, help="a diffusers folder that is there already")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    arguments = parser.parse_args()
    names, kinds = arguments.peers.split(","), arguments.only.split(",") if arguments.only else None
    works = [*TABLE, *(GROWTH if arguments.growth else ())]
    works = [work for work in works if kinds is None or work.kind in kinds]
    with tempfile.TemporaryDirectory() as home:
        folder = arguments.model or Path(home) / "model"
        if not folder.exists():
            make_checkpoint(folder, layout="diffusers-folder", size=arguments.size)
        figures = measure(works, names, folder, arguments.runs)
        print(report.table(figures, "so far"), flush=True)
        figures.load = load_times(names, folder, arguments.runs)
        if arguments.picture:
            figures.pictures = {
                name: picture(name, folder, arguments.picture, 512)
                for name in PIPELINES
                if name.split()[0] in names
            }
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers"))
    text = report.table(
        figures, f"medians of {arguments.runs} runs, {torch.get_num_threads()} threads, {libraries}"
    )
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "table.md").write_text(text)
    if figures.seconds:
        report.plot(figures, arguments.out / "plot.png")


if __name__ == "__main__":
    main()
