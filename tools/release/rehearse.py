"""Rehearses a release of all members, from the build to a picture drawn by what was installed:

    uv run --group release python -m tools.release.rehearse [--without-tests] [--python 3.11] [--keep FOLDER]

Builds every member twice and compares the bytes, checks what package pages will show, uploads to an index on this
machine, and installs each from there alone into a bare environment: imports it, runs its README's examples and its
tests against the installed wheel. The app, too, draws a picture. Ends with a table of sizes and of
what each needs.
"""

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from .building import PLATFORMS, build
from .members import Member, ReleaseError, git, members

REPOSITORY = "example/inkpunk"
STARTING = 30  # seconds
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ORACLES = ("diffusers", "transformers")
"""What some examples are a part of, and no member installs."""


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a program, and return what it prints.

    Raises:
        ReleaseError: with what it said, if it fails.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def index(folder: Path) -> Generator[str]:
    """An index of packages on this machine, empty at first, that takes what anyone uploads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    packages = folder / "index"
    packages.mkdir()
    place = ["--port", port, "--interface", "127.0.0.1"]
    open_to_all = ["--disable-fallback", "--passwords", ".", "--authenticate", "."]
    with (folder / "index.log").open("w") as log:
        server = subprocess.Popen(
            ["pypi-server", "run", *place, *open_to_all, packages], stdout=log, stderr=log
        )
        try:
            _wait(f"http://127.0.0.1:{port}/simple/")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait(address: str) -> None:
    until = time.monotonic() + STARTING
    while True:
        try:
            with urlopen(address):
                return
        except URLError as error:
            if time.monotonic() > until:
                raise ReleaseError(f"the index does not start: {error}") from error
            time.sleep(0.1)


def built(each: Member, home: Path) -> list[Path]:
    """A member's files, which come out the same a second time, and which package pages show well.

    Raises:
        ReleaseError: they do not.
    """
    ref = git(each.root, "rev-parse", "HEAD").strip()
    files, again = (build(each, REPOSITORY, ref, home / place) for place in ("first", "second"))
    for one, other in zip(files, again, strict=True):
        if one.read_bytes() != other.read_bytes():
            raise ReleaseError(f"{one.name}: is not the same when it is built again")
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    # compiled kernels are opened by ctypes: no modules, for all that their names end as such
    kernels = ["--ignore", "W004"] if each.name in PLATFORMS else []
    run("check-wheel-contents", *kernels, *(file for file in files if file.suffix == ".whl"))
    return files


def installed(each: Member, home: Path, address: str, python: str) -> Path:
    """A bare environment with a member in it, from the index alone; what is not ours comes from the usual one."""
    place = home / "environments" / each.name
    run("uv", "venv", "--quiet", "--python", python, place)
    interpreter = place / "bin" / "python"
    run(
        "uv", "pip", "install", "--quiet", "--python", interpreter, "--index", f"{address}/simple/",
        "--refresh-package", each.name, f"{each.name}=={each.version}", folder=home,
    )  # fmt: skip
    return interpreter


def tried(each: Member, home: Path, interpreter: Path, tests: bool) -> str:
    """Import a member, run its README's examples and its tests, and say what was done."""
    where = run(
        interpreter, "-c", f"import {each.module}; print({each.module}.__file__)", folder=home
    ).strip()
    if "site-packages" not in where:
        raise ReleaseError(f"{each.name}: {where} was imported, and not what was installed")
    source = home / "first" / "source" / each.name
    folder = home / "work" / each.name
    folder.mkdir(parents=True)
    needed = {each.name, *(require.name for require in each.requires)}
    absent = [*ORACLES, *(other.module for other in members(each.root) if other.name not in needed)]
    examples = [
        example
        for example in EXAMPLE.findall((source / "README.md").read_text())
        if not any(f"from {other} " in example or f"import {other}" in example for other in absent)
    ]
    for number, example in enumerate(examples):
        place = folder / f"example{number}"
        place.mkdir()
        (place / "example.py").write_text(example)
        run(interpreter, "example.py", folder=place)
    said = f"{len(examples)} examples"
    if tests:
        group = tomllib.loads((source / "pyproject.toml").read_text())["dependency-groups"]["dev"]
        run("uv", "pip", "install", "--quiet", "--python", interpreter, *group)
        for name in ("tests", "pyproject.toml", "README.md"):
            (shutil.copytree if (source / name).is_dir() else shutil.copyfile)(source / name, folder / name)
        done = run(interpreter, "-m", "pytest", "-q", "tests", folder=folder)
        said += f", {done.strip().splitlines()[-1].strip('= ')}"
    return said


def row(each: Member, files: list[Path]) -> str:
    """A line of the table: version, sizes in MB, and what it needs."""
    wheel, source = (next(file for file in files if file.suffix == suffix) for suffix in (".whl", ".gz"))
    sizes = " | ".join(f"{file.stat().st_size / 1e6:.2f}" for file in (wheel, source))
    needs = ", ".join(require.name for require in each.requires) or "nothing"
    return f"| {each.name} | {each.version} | {sizes} | {needs} |"


def main() -> int:
    """Run the rehearsal, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.release.rehearse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--without-tests", action="store_true", help="import each, and run its examples alone"
    )
    parser.add_argument("--python", default="3.11", help="of the bare environments")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep what was built, and the environments, there"
    )
    options, root, began = parser.parse_args(), Path.cwd(), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.keep or Path(temporary)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        try:
            with index(home) as address:
                rows = list[str]()
                for each in members(root):
                    files = built(each, home)
                    rows.append(row(each, files))
                    run(
                        sys.executable, "-m", "twine", "upload", "--non-interactive", "--repository-url", address,
                        "--username", "", "--password", "", "--disable-progress-bar", *files,
                    )  # fmt: skip
                for each in members(root):
                    interpreter = installed(each, home, address, options.python)
                    said = tried(each, home, interpreter, not options.without_tests)
                    print(f"{each.name}: {said}", flush=True)
                    if each.name == "inkpunk":
                        drawing = ["generate", "a raven", "--seed", "7", "--out", "raven.png"]
                        run(interpreter, "-m", "inkpunk", *drawing, folder=home)
        except ReleaseError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
    print(
        "\n| member | version | wheel, MB | source, MB | needs |\n| --- | --- | --- | --- | --- |",
        *rows,
        sep="\n",
    )
    print(f"\nRehearsed in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
