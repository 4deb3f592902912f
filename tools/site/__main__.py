"""The command line: `python -m tools.site build|check`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from .links import problems
from .pages import ROOT, lay_out
from .walk import walk

WORK = ROOT / "site"
ERROR = re.compile(r"^[\w.]+Error: .*", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, which zensical writes to files as well


@click.group()
def main() -> None:
    """The documentation site."""


@main.command()
@click.option("--address", default="", help="Where it will be published, for links that must be whole.")
def build(address: str) -> None:
    """Build the site into site/html; any warning, broken link or page without its numbers is an error."""
    click.echo(_build(WORK, address))


@main.command()
def check() -> None:
    """Build the site and keep nothing."""
    with tempfile.TemporaryDirectory() as folder:
        _build(Path(folder).resolve(), "")
    click.echo("The site builds without a warning, and its links lead somewhere.")


def _build(work: Path, address: str) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source, html = work / "source", work / "html"
    lay_out(source, walk(source / "walk"), config=work / "zensical.toml", address=address)
    # In a folder of its own: of two builds in one, the second would not see what docstrings have become.
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "zensical.toml"]
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}  # for the extension that the settings name
    built = subprocess.run(
        command, cwd=work, env=paths, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if built.returncode:
        said = COLOURS.sub("", built.stdout)
        why = ERROR.findall(said)  # beneath a traceback, where our own extensions refuse something
        raise click.ClickException("\n".join(["the site does not build", said.split("Traceback")[0], *why]))
    if found := problems(html):
        raise click.ClickException("\n".join([f"{len(found)} broken:", *found]))
    return html


if __name__ == "__main__":
    main()
