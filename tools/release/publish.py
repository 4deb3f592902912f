"""What the release workflow does with a tag such as inkpunk-vae-v0.2.0:

    python -m tools.release.publish build TAG --repository OWNER/NAME --out FOLDER
    python -m tools.release.publish try TAG --files FOLDER
    python -m tools.release.publish notes TAG

Builds a member's files, and checks them; tries those in bare environments with the member's own tests; prints its
changelog's entry.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .building import build, check
from .members import Member, ReleaseError, dev_group, member


def of_tag(root: Path, tag: str) -> Member:
    """The member that a tag releases.

    Raises:
        ReleaseError: there is none of that name, or not in that version.
    """
    name, _, version = tag.rpartition("-v")
    chosen = member(root, name)
    if str(chosen.version) != version:
        raise ReleaseError(
            f"{tag}: {chosen.path}/pyproject.toml says {chosen.version}; tag what was released"
        )
    return chosen


def notes(member: Member) -> str:
    """The entry of a member's version in its changelog, without its heading."""
    entry = re.search(
        rf"^## {re.escape(str(member.version))} .*?\n(.*?)(?=^## |\Z)",
        member.changelog.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    if entry is None:
        raise ReleaseError(f"{member.path}/CHANGELOG.md: has no entry for {member.version}")
    return entry[1].strip()


def tried(member: Member, files: Path) -> None:
    """Try a member's files, each in an environment of nothing but that and what it declares.

    Its tests run against the wheel, in a copy of its folder. What the sdist builds is imported.

    Raises:
        subprocess.CalledProcessError: they fail.
    """
    sdist = next(files.glob("*.tar.gz")).resolve()
    alone = ["uv", "run", "--no-project", "--isolated"]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary) / member.name
        shutil.copytree(member.folder, home, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        wanted = [f"--with={each}" for each in (*dev_group(home), f"{member.name}=={member.version}")]
        wheel = [f"--find-links={files.resolve()}", f"--no-build-package={member.name}"]
        subprocess.run([*alone, *wheel, *wanted, "pytest", "tests"], cwd=home, check=True)
        built = [f"--with={member.name} @ {sdist.as_uri()}", "python", "-c", f"import {member.module}"]
        subprocess.run([*alone, *built], cwd=temporary, check=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.release.publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, options in {"build": ("repository", "out"), "try": ("files",), "notes": ()}.items():
        command = commands.add_parser(name)
        command.add_argument("tag")
        for option in options:
            command.add_argument(f"--{option}", required=True, type=str if option == "repository" else Path)
    asked = parser.parse_args(arguments)
    try:
        chosen = of_tag(Path.cwd(), asked.tag)
        if asked.command == "build":
            files = build(chosen, asked.repository, asked.tag, asked.out / "build", everywhere=True)
            check(chosen, files)
            for file in files:
                print(shutil.copy(file, asked.out))
            shutil.rmtree(asked.out / "build")
        elif asked.command == "try":
            tried(chosen, asked.files)
        else:
            print(notes(chosen))
    except ReleaseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
