"""What working through orders costs beside drawing them: a batch against the bare loop.

    uv run python -m tools.benchmark_orders [--pictures 60] [--runs 5]

The model in the box, as small as it draws: `pipeline.generate` and `save` in a loop, and `draw_orders` over a file that
asks for the same, in turns in one process; seconds of the processor, which other work on the machine changes little,
and of the clock, medians of the runs. Then what an order costs by itself: reading a line, naming it, looking for its
picture; and how much memory reading a million lines takes.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import psutil
from inkpunk import Pipeline, Request
from inkpunk.orders.batch import draw_orders
from inkpunk.orders.files import read_orders
from inkpunk.orders.folder import Folder, Outcome

SIZE, STEPS = 128, 8  # what the model was trained at, and a usual number


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor, and of the clock."""
    start = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def bare(pipeline: Pipeline, pictures: int, folder: Path) -> None:
    """Draw and save, and nothing else."""
    for seed in range(pictures):
        request = Request(f"nvinkpunk raven {seed}", seeds=(seed,), steps=STEPS, width=SIZE, height=SIZE)
        for picture in pipeline.generate(request):
            picture.save(folder / f"{seed}.png")


def batch(pipeline: Pipeline, file: Path, folder: Path) -> None:
    """The same by orders."""
    outcomes = draw_orders(read_orders(file), folder, load=lambda choice: pipeline)
    assert {each.state for each in outcomes if isinstance(each, Outcome)} == {"drawn"}


def asked(path: Path, pictures: int) -> Path:
    """A file of orders for these pictures."""
    told = {"steps": STEPS, "width": SIZE, "height": SIZE}
    with path.open("w") as file:
        for seed in range(pictures):
            file.write(json.dumps({"prompt": f"nvinkpunk raven {seed}", "seed": seed, **told}) + "\n")
    return path


@click.command()
@click.option("--pictures", default=60, show_default=True, help="Of a run.")
@click.option("--runs", default=5, show_default=True)
@click.option("--lines", default=1_000_000, show_default=True, help="Of the file that is read alone.")
def main(pictures: int, runs: int, lines: int) -> None:
    """Print the figures."""
    pipeline = Pipeline.load("sketch", device="cpu")
    times = dict[str, list[tuple[float, float]]](bare=[], batch=[])
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        file = asked(place / "orders.jsonl", pictures)
        for run in range(runs + 1):  # the first warms up
            folders = [place / f"{kind}{run}" for kind in times]
            for folder in folders:
                folder.mkdir()
            pair = (
                measured(lambda folder=folders[0]: bare(pipeline, pictures, folder)),
                measured(lambda folder=folders[1]: batch(pipeline, file, folder)),
            )
            if run:
                for kind, told in zip(times, pair, strict=True):
                    times[kind].append(told)
        for what, place_of in (("processor", 0), ("clock", 1)):
            one, other = (median(each[place_of] for each in times[kind]) / pictures for kind in times)
            click.echo(
                f"{what}: {one * 1000:.1f} ms a picture in the bare loop, {other * 1000:.1f} ms in a batch, "
                f"{one / other:.3f} of its rate; {runs} runs of {pictures}"
            )
        with_folder = Folder(place)
        many = [*read_orders(asked(place / "many.jsonl", 2000))]
        for what, work in {
            "reading a line": lambda: [*read_orders(place / "many.jsonl")],
            "naming it and looking for it": lambda: [with_folder.meet(entry) for entry in many],
        }.items():
            click.echo(f"{what}: {measured(work)[0] / 2000 * 1e6:.0f} us")
        if lines:
            path = place / "prompts.txt"
            path.write_text("".join(f"a raven {each}\n" for each in range(lines)))
            process = psutil.Process()
            before = process.memory_info().rss
            seconds = measured(lambda: sum(1 for _ in read_orders(path)))[0]
            grown = process.memory_info().rss - before
            click.echo(f"{lines:,} prompts: {seconds:.0f} s, {grown / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
