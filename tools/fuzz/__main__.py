"""Damages small files in a hundred thousand ways, and counts what readers of strangers' files do badly:

    uv run python -m tools.fuzz [--inputs 100000] [--seed 0] [PARSER ...]

Each parser runs in a process of its own, as many at once as there are cores. Prints a table; an input that breaks a
reader is written to runs/fuzz, to be kept in tools/fuzz/regressions under its parser's name once that is mended.
"""

import argparse
from pathlib import Path

from .parsers import PARSERS
from .work import COLUMNS, fuzz_apart

parser = argparse.ArgumentParser(
    prog="tools.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
)
parser.add_argument("parsers", nargs="*", metavar="PARSER", choices=[*PARSERS, []], help=", ".join(PARSERS))
parser.add_argument("--inputs", type=int, default=100_000)
parser.add_argument("--seed", type=int, default=0)

if __name__ == "__main__":
    options = parser.parse_args()
    print("| parser |", " | ".join(COLUMNS), "|\n|" + " --- |" * (len(COLUMNS) + 1), flush=True)
    names = options.parsers or list(PARSERS)
    for name, counts in fuzz_apart(names, options.inputs, options.seed, Path("runs/fuzz")):
        print(f"| {name} |", " | ".join(f"{count:,}" for count in counts), "|", flush=True)
