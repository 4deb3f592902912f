"""Rehearses a release of all members, from the build to a picture drawn by what was installed:

    uv run --group release python -m tools.release.rehearse [inkpunk-vae ...] [--until installed] [--write]

Builds every member twice and compares the bytes, checks what package pages will show, uploads to an index on this
machine, and installs each from there alone into a bare environment: imports it, runs its commands, its README's
examples and its tests against the installed wheel, as many members at once as there are cores. The app, too, draws a
picture. Ends with a table of sizes and of what each needs, which `--write` puts into CONTRIBUTING.md.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from .building import build, check
from .members import Member, ReleaseError, dev_group, git, members, named

REPOSITORY = "example/inkpunk"
STARTING = 30  # seconds
STAGES = ("built", "installed", "tested")
CORES = os.cpu_count() or 1
LONGEST = ("inkpunk", "inkpunk-studio", "inkpunk-weights")
"""Whose tests take longest, and so begin first."""
PAGE = Path("CONTRIBUTING.md")
TABLE = re.compile(r"(<!-- wheels -->\n).*?(<!-- end -->\n)", re.DOTALL)
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ORACLES = ("diffusers", "transformers")
"""What some examples are a part of, and no member installs."""


def run(*command: str | Path, folder: Path | None = None, **more: str) -> str:
    """Run a program, with more in its environment, and return what it prints.

    Raises:
        ReleaseError: with what it said, if it fails.
    """
    done = subprocess.run(command, cwd=folder, env=os.environ | more, capture_output=True, text=True)
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
    check(each, files)
    return files


def uploaded(files: list[Path], address: str) -> None:
    """Put files into the index, as they would be published."""
    nobody = ("--non-interactive", "--username", "", "--password", "", "--disable-progress-bar")
    run(sys.executable, "-m", "twine", "upload", "--repository-url", address, *nobody, *files)


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


def shown(each: Member, home: Path, interpreter: Path) -> str:
    """Import a member, run its commands and its README's examples, and say what was done."""
    where = run(
        interpreter, "-c", f"import {each.module}; print({each.module}.__file__)", folder=home
    ).strip()
    if "site-packages" not in where:
        raise ReleaseError(f"{each.name}: {where} was imported, and not what was installed")
    for command in each.commands:
        run(interpreter.with_name(command), "--help", folder=home)
    examples = runnable(each, (home / "first" / "source" / each.name / "README.md").read_text())
    for number, example in enumerate(examples):
        place = home / "examples" / each.name / str(number)
        place.mkdir(parents=True)
        (place / "example.py").write_text(example)
        run(interpreter, "example.py", folder=place)
    if each.name == "inkpunk":
        drawing = ["generate", "a raven", "--seed", "7", "--out", "raven.png"]
        run(interpreter, "-m", "inkpunk", *drawing, folder=home)
    return f"{len(examples)} examples"


def runnable(each: Member, readme: str) -> list[str]:
    """The examples of a README that take nothing but what its member installs."""
    needed = {each.name, *(require.name for require in each.requires)}
    absent = [*ORACLES, *(other.module for other in members(each.root) if other.name not in needed)]
    takes = re.compile(rf"\b(?:from|import) (?:{'|'.join(absent)})\b")
    return [example for example in EXAMPLE.findall(readme) if not takes.search(example)]


def tested(each: Member, home: Path, interpreter: Path, threads: int) -> str:
    """Run a member's tests against what was installed, in what was built, and return their last line."""
    source = home / "first" / "source" / each.name
    run("uv", "pip", "install", "--quiet", "--python", interpreter, *dev_group(source))
    pytest = ["-P", "-m", "pytest", "-q", "tests"]
    done = run(interpreter, *pytest, folder=source, CI="true", OMP_NUM_THREADS=str(threads))
    return done.strip().splitlines()[-1].strip("= ")


def row(each: Member, files: list[Path]) -> str:
    """A line of the table: version, sizes in MB, and what it needs."""
    wheel, source = (next(file for file in files if file.suffix == suffix) for suffix in (".whl", ".gz"))
    sizes = " | ".join(f"{file.stat().st_size / 1e6:.2f}" for file in (wheel, source))
    return f"| {each.name} | {each.version} | {sizes} | {needs(each)} |"


def needs(each: Member) -> str:
    """What a member depends on, by name."""
    return ", ".join(require.name for require in each.requires) or "nothing"


def table(rows: list[str]) -> str:
    """The rows of all members, under their headings."""
    return "\n".join(("| member | version | wheel, MB | source, MB | needs |", "| --- " * 5 + "|", *rows))


def rehearse(chosen: list[Member], home: Path, until: str, python: str) -> list[str]:
    """Build all members, install and test those that are chosen, and return the table's rows.

    Raises:
        ReleaseError: a stage of one fails; the others are still tried.
    """
    everyone = members(chosen[0].root)
    at_once = min(CORES, len(chosen))

    def tried(each: Member, address: str) -> str | None:
        began = time.monotonic()
        try:
            interpreter = installed(each, home, address, python)
            said = [shown(each, home, interpreter)]
            if until == "tested":
                said.append(tested(each, home, interpreter, CORES // at_once))
        except ReleaseError as error:
            print(f"\n{each.name}: {error}\n", file=sys.stderr, flush=True)
            return each.name
        print(f"{each.name}: {', '.join(said)}; {time.monotonic() - began:.0f} s", flush=True)
        return None

    files = {each: built(each, home) for each in everyone}
    if until != "built":
        with index(home) as address, ThreadPoolExecutor(at_once) as pool:
            uploaded([file for each in everyone for file in files[each]], address)
            first = sorted(chosen, key=lambda each: (*LONGEST, each.name).index(each.name))
            if failed := [name for name in pool.map(lambda each: tried(each, address), first) if name]:
                raise ReleaseError(f"{', '.join(failed)}: cannot be released as it is; see above")
    return [row(each, files[each]) for each in everyone]


def main() -> int:
    """Run the rehearsal, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.release.rehearse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "members", nargs="*", metavar="MEMBER", help="which to install and test; all, if left out"
    )
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage")
    parser.add_argument("--python", default="3.11", help="of the bare environments")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE}")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep what was built, and the environments, there"
    )
    options, root, began = parser.parse_args(), Path.cwd(), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        home = (options.keep or Path(temporary)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        try:
            rows = rehearse(named(root, options.members), home, options.until, options.python)
        except ReleaseError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
    print(f"\n{table(rows)}\n\nRehearsed in {time.monotonic() - began:.0f} s.")
    if options.write:
        page = root / PAGE
        page.write_text(TABLE.sub(lambda match: f"{match[1]}{table(rows)}\n{match[2]}", page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
