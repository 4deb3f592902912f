"""What working through orders costs beside drawing them: a batch against the bare loop.

    uv run python -m tools.benchmark_orders [--pictures 40]

The model in the box at its own size: `pipeline.generate` and `save`, and `draw_orders` over a file that asks for the
same, picture by picture in turns in one process; medians of a picture's seconds of the processor, and of the clock.
Then what an order costs by itself, to read its line, to name it and to look for its picture; and how much memory it
takes to read a million lines.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import click
import psutil
from inkpunk import Pipeline, Request
from inkpunk.orders.batch import draw_orders
from inkpunk.orders.files import read_orders
from inkpunk.orders.folder import Folder, Outcome

SIZE, STEPS = 128, 8  # what the model was trained at, and a usual number
WARM = 2  # pictures that are not counted


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor, and of the clock."""
    start = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - start[0], time.perf_counter() - start[1]


def bare(pipeline: Pipeline, pictures: int, folder: Path) -> Iterator[object]:
    """Draw and save, and nothing else."""
    for seed in range(pictures):
        request = Request(f"nvinkpunk raven {seed}", seeds=(seed,), steps=STEPS, width=SIZE, height=SIZE)
        for picture in pipeline.generate(request):
            yield picture.save(folder / f"{seed}.png")


def batch(pipeline: Pipeline, file: Path, folder: Path) -> Iterator[object]:
    """The same by orders, each of which is read when its turn comes."""
    drawing = draw_orders(read_orders(file), folder, window=1, load=lambda choice: pipeline)
    for each in drawing:
        if isinstance(each, Outcome):
            assert each.state == "drawn"
            yield each


def asked(path: Path, pictures: int) -> Path:
    """A file of orders for these pictures."""
    told = {"steps": STEPS, "width": SIZE, "height": SIZE}
    with path.open("w") as file:
        for seed in range(pictures):
            file.write(json.dumps({"prompt": f"nvinkpunk raven {seed}", "seed": seed, **told}) + "\n")
    return path


@click.command()
@click.option("--pictures", default=40, show_default=True, help="Of each way.")
@click.option("--lines", default=1_000_000, show_default=True, help="Of the file that is read alone.")
def main(pictures: int, lines: int) -> None:
    """Print the figures."""
    pipeline = Pipeline.load("sketch", device="cpu")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        file = asked(place / "orders.jsonl", pictures + WARM)
        (place / "bare").mkdir()
        (place / "batch").mkdir()
        ways = bare(pipeline, pictures + WARM, place / "bare"), batch(pipeline, file, place / "batch")
        turns = [[measured(lambda way=way: next(way)) for way in ways] for _ in range(pictures + WARM)][WARM:]
        for what, place_of in (("processor", 0), ("clock", 1)):
            one, other = (median(turn[way][place_of] for turn in turns) for way in (0, 1))
            click.echo(
                f"{what}: {one * 1000:.1f} ms a picture in the bare loop, {other * 1000:.1f} ms in a batch, "
                f"{one / other:.3f} of its rate; medians of {pictures}"
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
