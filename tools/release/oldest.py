"""Tests members with the oldest versions of all that they say they work with:

    uv run python -m tools.release.oldest [inkpunk-vae ...] [--python 3.11]

What a member declares, for its tests too, comes in the lowest version that it allows, and what those need in their
turn in the newest that they take; members of this workspace come as they are here. An environment is made for each,
and the member's own tests run there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .members import Member, ReleaseError, dev_group, named


def lowest(requirement: Requirement) -> Version | None:
    """The version that a requirement begins with; None where it sets no bound below."""
    bounds = [Version(each.version) for each in requirement.specifier if each.operator in (">=", "==", "~=")]
    return max(bounds, default=None)


def above(declared: list[Requirement], installed: dict[str, Version]) -> list[str]:
    """The requirements that came in another version than they begin with, and so are not tried as low as they say."""
    return [
        f"{each.name} {came}, not {least}"
        for each in declared
        if (least := lowest(each)) and (came := installed.get(canonicalize_name(each.name))) and came != least
    ]


def prepared(each: Member, home: Path, python: str) -> Path:
    """An environment with a member in it, and the oldest of what it declares."""
    place = home / each.name
    group = f"{each.path}/pyproject.toml:dev"
    oldest = ("--resolution", "lowest-direct", each.folder, "--group", group)
    for command in (("venv", "--python", python, place), ("pip", "install", "--python", place, *oldest)):
        subprocess.run(("uv", *command, "--quiet"), cwd=each.root, check=True)
    return place


def versions(place: Path) -> dict[str, Version]:
    """What an environment holds."""
    told = subprocess.run(
        ["uv", "pip", "list", "--format", "json", "--python", place], check=True, stdout=subprocess.PIPE
    )
    return {canonicalize_name(item["name"]): Version(item["version"]) for item in json.loads(told.stdout)}


def tried(each: Member, python: str) -> bool:
    """Test a member, say with what, and return whether its tests passed."""
    declared = [
        *(require for require in each.requires if not require.name.startswith("inkpunk")),
        *map(Requirement, dev_group(each.folder)),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        place = prepared(each, Path(temporary), python)
        installed = versions(place)
        print(f"\n== {each.name}, with {', '.join(_came(declared, installed))}", flush=True)
        if higher := above(declared, installed):
            print(f"Not as old as it says, since others of it ask for more: {', '.join(higher)}", flush=True)
        # types and shapes are checked with the newest: jaxtyping's oldest cannot where a conftest imports the member
        plainly = ("-o", "addopts=--import-mode=importlib")
        command = [f"--rootdir={each.folder}", f"--confcutdir={each.folder}", *plainly, "-q", "tests"]
        done = subprocess.run(
            [place / "bin" / "python", "-P", "-m", "pytest", *command],
            cwd=each.folder,
            env=os.environ | {"CI": "true"},
        )
    return not done.returncode


def _came(declared: list[Requirement], installed: dict[str, Version]) -> list[str]:
    names = sorted({canonicalize_name(each.name) for each in declared} & installed.keys())
    return [f"{name} {installed[name]}" for name in names]


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.release.oldest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("members", nargs="*", metavar="MEMBER", help="all, if left out")
    parser.add_argument("--python", default="3.11", help="the oldest, which takes the oldest of all else")
    options = parser.parse_args()
    try:
        failed = [each.name for each in named(Path.cwd(), options.members) if not tried(each, options.python)]
    except (ReleaseError, subprocess.CalledProcessError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if failed:
        told = "tests fail with the oldest; see whether the bound or the test is wrong"
        print(f"Error: {', '.join(failed)}: {told}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
