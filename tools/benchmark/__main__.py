"""One command for all figures of speed:

    uv run --group benchmark python -m tools.benchmark [--growth] [--picture 25] [--only step,decode]

Builds a full-size model of random weights, lets all peers do the same work in turns, in float32 and in 16 bits, each
in a process of its own, compares their results with ours in float32, and measures the machine's best matrix products
between the turns.

Each figure is in runs/benchmark/figures.jsonl as soon as it is there; a table of medians and a
plot stand beside it, written anew after each piece of work. The same command continues a run that was interrupted. A
peer that fails is told, and left out of that row. Exit status 1 says that float32 results disagree. Alone on the
machine, or the figures mean nothing.
"""

import argparse
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from tools.make_checkpoint import make_checkpoint

from . import report
from .asked import KINDS, Refused, check_model, chosen, installed, pipelines_of
from .figures import OtherSettings, Record
from .measuring import LOAD, Bench, picture_name
from .peers import PEERS
from .work import GROWTH, TABLE

PICTURE = 512  # pixels each way


def main() -> None:
    """Measure, print, plot."""
    try:
        disagreements = run(arguments())
    except (Refused, OtherSettings) as refusal:
        sys.exit(f"{refusal}")
    except KeyboardInterrupt:
        print("Interrupted; the same command continues.", file=sys.stderr)
        sys.exit(130)
    sys.exit(1 if disagreements else 0)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="turns of each peer (default: %(default)s)")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of: %(default)s")
    parser.add_argument(
        "--only", default=",".join(KINDS), help="kinds of work: %(default)s; none for --picture alone"
    )
    parser.add_argument("--growth", action="store_true", help="also how time grows with size and pictures")
    parser.add_argument(
        "--picture", type=int, default=0, metavar="STEPS", help="also a whole picture of so many steps"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure anew what is asked for and there already"
    )
    parser.add_argument(
        "--size", choices=["full", "small"], default="full", help="small: only to try this out"
    )
    parser.add_argument("--model", type=Path, help="a diffusers folder that is there already")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    return parser.parse_args()


def run(asked: argparse.Namespace) -> list[str]:
    """Measure what is asked for; return who disagrees.

    Raises:
        Refused: before anything is started, for what could not be measured.
        OtherSettings: if the figures that are there are of another model or machine.
    """
    names, lines = installed(chosen(asked.peers, list(PEERS), "--peers"))
    if asked.runs < 1:
        raise Refused(f"--runs {asked.runs}: 1 or more")
    kinds = [] if asked.only == "none" else chosen(asked.only, KINDS, "--only")
    if asked.model:
        check_model(asked.model)
    for line in lines:
        print(line, flush=True)
    works = [work for work in (*TABLE, *(GROWTH if asked.growth else ())) if work.kind in kinds]
    libraries = {name: _version(name) for name in ("torch", "diffusers", "openvino")}
    record = Record(
        asked.out / "figures.jsonl",
        {
            "model": str(asked.model.resolve()) if asked.model else f"random weights, {asked.size}",
            "threads": torch.get_num_threads(),
            **libraries,
        },
    )
    drawing = pipelines_of(names)
    if asked.again:
        whole = picture_name(asked.picture, PICTURE)
        record.forget([*(work.name for work in works), LOAD, whole], [*names, *drawing])
    elif record.figures:
        print(f"{len(record.figures)} figures are there already; --again measures anew", flush=True)
    remark = ", ".join(
        [
            f"medians of up to {asked.runs} turns",
            f"{torch.get_num_threads()} threads",
            *(f"{name} {number}" for name, number in libraries.items() if number),
        ]
    )

    def tell() -> report.Summary:
        summary = report.Summary(record.figures, record.failures)
        (asked.out / "table.md").write_text(report.table(summary, remark))
        if find_spec("matplotlib"):
            report.plot(summary, asked.out / "plot.png")
        return summary

    with tempfile.TemporaryDirectory() as home:
        folder = asked.model or Path(home) / "model"
        if not asked.model:
            make_checkpoint(folder, layout="diffusers-folder", size=asked.size)
        bench = Bench(folder, record, asked.out / "results", asked.runs)
        for work in works:
            bench.measure(work, names)
            tell()
        bench.load([name for name in drawing if name in names])
        tell()
        for name in drawing if asked.picture else ():
            bench.picture(name, asked.picture, PICTURE)
            tell()
    summary = tell()
    print(report.table(summary, remark))
    return summary.disagreements()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
