"""How fast a fleet is on one machine: beside as many processes of `inkpunk batch`, and with pictures of no cost.

    uv run python -m tools.benchmark_fleet [--runs 3] [--pictures 200] [--tiny 10000]

Two workers of one thread each, and two processes of one thread each that have a half of the requests each, in turns.
Rates are of the time between the first picture and the last, so that starting is left out, and told by itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click

WORKERS = 2


def write(path: Path, count: int, size: int, steps: int, first: int = 0) -> Path:
    """A file of requests."""
    asked = {"width": size, "height": size, "steps": steps, "device": "cpu"}
    lines = (json.dumps({"prompt": f"a raven {first + i}", "seed": first + i, **asked}) for i in range(count))
    path.write_text("\n".join(lines))
    return path


def timed(commands: list[list[str]], folder: Path) -> tuple[float, float]:
    """Seconds until the first picture, and pictures a second from then on."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = time.time()
    running = [subprocess.Popen(each, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
               for each in commands]  # fmt: skip
    for each in running:
        assert each.wait() == 0
    times = sorted(each.stat().st_mtime for each in folder.glob("*.png"))
    skip = len(times) // 10  # until all have begun
    return times[0] - start, (len(times) - 1 - skip) / (times[-1] - times[skip])


def fleet(file: Path, folder: Path, tasks: int) -> list[str]:
    """The command of a fleet."""
    command = [sys.executable, "-m", "inkpunk_fleet", "run", str(file), "--out", str(folder)]
    return [*command, "--workers", str(WORKERS), "--tasks", str(tasks)]


def beside_batch(place: Path, runs: int, pictures: int, size: int, steps: int, tasks: int) -> None:
    """Print both rates, and what the fleet's is of the other."""
    rates: dict[str, list[tuple[float, float]]] = {"fleet": [], "batch": []}
    for turn in range(runs):
        halves = [write(place / f"half{n}.jsonl", pictures // WORKERS, size, steps, n * pictures)
                  for n in range(WORKERS)]  # fmt: skip
        whole = place / "whole.jsonl"
        whole.write_text("\n".join(half.read_text() for half in halves))
        batch = [[sys.executable, "-m", "inkpunk", "batch", str(half), "--out", str(place / f"batch{turn}")]
                 for half in halves]  # fmt: skip
        (place / f"batch{turn}").mkdir()
        rates["batch"].append(timed(batch, place / f"batch{turn}"))
        rates["fleet"].append(timed([fleet(whole, place / f"fleet{turn}", tasks)], place / f"fleet{turn}"))
        print(
            {
                who: [f"{rate:.2f}/s after {first:.0f} s" for first, rate in each]
                for who, each in rates.items()
            }
        )
    middle = {who: median(rate for _, rate in each) for who, each in rates.items()}
    ratios = sorted(f[1] / b[1] for f, b in zip(rates["fleet"], rates["batch"], strict=True))
    print(f"{size}x{size}, {steps} steps, {pictures} pictures, medians of {runs}: fleet {middle['fleet']:.2f}/s, "
          f"two processes {middle['batch']:.2f}/s, ratios {', '.join(f'{each:.2f}' for each in ratios)}")  # fmt: skip


def tiny(place: Path, count: int, tasks: int) -> None:
    """Print at what rate requests pass whose pictures cost nothing, and where the time goes."""
    from inkpunk_fleet import Crew, Requests, Store, Worker
    from inkpunk_fleet.fleet import kept
    from inkpunk_fleet.running import draw_on_ray

    file = write(place / "tiny.jsonl", count, 64, 1)
    start = time.perf_counter()
    tasks_read = [*Requests(str(file), str(place / "tiny")).tasks()]
    print(f"reading alone: {count / (time.perf_counter() - start):.0f}/s")
    start = time.perf_counter()
    told = [each.to_json() for each in Worker(str(place / "tiny"), load=_easel).meet(tasks_read[:1000])]
    print(f"a worker alone, pictures of no cost: {len(told) / (time.perf_counter() - start):.0f}/s")
    times = list[float]()
    store = Store(str(place / "fleet"))
    start = time.perf_counter()
    drawn = draw_on_ray(
        Requests(str(file), store.url), Crew(WORKERS, WORKERS, tasks=tasks), make=_free_worker
    )
    for _ in kept(drawn, store):
        times.append(time.perf_counter())
    rate = (len(times) - 1) / (times[-1] - times[0])
    print(f"{len(times)} through a fleet: {rate:.0f}/s after {times[0] - start:.0f} s")


def _easel(choice: object) -> object:
    """A pipeline whose pictures cost nothing."""
    from types import SimpleNamespace

    from inkpunk.orders.folder import PNG_END

    picture = SimpleNamespace(file=lambda form, quality: PNG_END)
    return SimpleNamespace(generate=lambda request: [picture])


def _free_worker(*arguments: Any, **options: Any) -> Any:
    from inkpunk_fleet.worker import Worker

    return Worker(*arguments, load=_easel, **options)


@contextmanager
def folder() -> Iterator[Path]:
    """A place for what is drawn."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


@click.command()
@click.option("--runs", default=3, show_default=True)
@click.option("--pictures", default=200, show_default=True)
@click.option("--size", default=128, show_default=True)
@click.option("--steps", default=10, show_default=True)
@click.option("--tasks", default=16, show_default=True)
@click.option(
    "--tiny", "count", default=10_000, show_default=True, help="Requests whose pictures cost nothing."
)
def main(runs: int, pictures: int, size: int, steps: int, tasks: int, count: int) -> None:
    """Print the figures."""
    with folder() as place:
        if runs:
            beside_batch(place, runs, pictures, size, steps, tasks)
        if count:
            tiny(place, count, tasks)


if __name__ == "__main__":
    main()
