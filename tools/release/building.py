"""Wheels and source distributions, as they are published: of what is committed, with addresses that hold anywhere."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from posixpath import normpath

from .members import Member, ReleaseError, git

LINK = re.compile(r"(!?)\[([^\]]*)\]\(\s*(?!\w+:|[#\s])([^)\s]+)\s*\)")
IMAGE = re.compile(r'(<img src=")(?!\w+:)([^"]+)')
LINKS = """
[project.urls]
Homepage = "{home}"
Source = "{home}/tree/{ref}/{path}"
Changelog = "{home}/blob/{ref}/{path}/CHANGELOG.md"
Issues = "{home}/issues"
"""


PLATFORMS = {
    "inkpunk-winograd": (
        *("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_x86_64", "macosx_11_0_arm64"),
        *("win_amd64", "win_arm64", "any"),
    )
}
"""Of members with compiled kernels, the platforms that they have a wheel for; any machine compiles for all."""


def build(member: Member, repository: str, ref: str, out: Path, *, everywhere: bool = False) -> list[Path]:
    """Build a member's wheel and source distribution, and return their paths.

    Args:
        member: which.
        repository: OWNER/NAME on GitHub, where its pictures and links are.
        ref: the tag or commit that they are of.
        out: a folder for the files; it is made.
        everywhere: a wheel for every platform, and not for this machine alone, where they differ.

    Raises:
        ReleaseError: it cannot be built.
    """
    home = out / "source" / member.name
    shutil.rmtree(home, ignore_errors=True)
    prepare(member, repository, ref, home)
    times = {"SOURCE_DATE_EPOCH": git(member.root, "log", "-1", "--format=%ct").strip()}
    tags = PLATFORMS.get(member.name, ()) if everywhere else ()
    for more in [{}, *({"INKPUNK_WHEEL": tag} for tag in tags)]:
        done = subprocess.run(
            ["uv", "build", "--quiet", *(["--wheel"] if more else []), "--out-dir", out / member.name, home],
            env=os.environ | times | more,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ReleaseError(f"{member.name}: cannot be built: {done.stderr.strip()}")
    return sorted(path for path in (out / member.name).iterdir() if path.suffix in (".whl", ".gz"))


def check(member: Member, files: list[Path]) -> None:
    """Hold a member's files to what package pages show well, and its wheels to hold nothing but the package.

    Raises:
        ReleaseError: with what is wrong.
    """
    # compiled kernels are opened by ctypes: no modules, for all that their names end as such
    kernels = ["--ignore", "W004"] if member.name in PLATFORMS else []
    wheels = [file for file in files if file.suffix == ".whl"]
    for command in (["twine", "check", "--strict", *files], ["check_wheel_contents", *kernels, *wheels]):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
        if done.returncode:
            raise ReleaseError(f"{member.name}: {command[0]}: {done.stdout}{done.stderr}")


def prepare(member: Member, repository: str, ref: str, home: Path) -> None:
    """Copy what is committed of a member into a folder, with its README's and its own addresses made absolute."""
    archive = subprocess.run(
        ["git", "archive", f"HEAD:{member.path}"], cwd=member.root, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as committed:
        committed.extractall(home, filter="data")
    readme, project = home / "README.md", home / "pyproject.toml"
    readme.write_text(with_addresses(readme.read_text("utf-8"), member.path, repository, ref), "utf-8")
    github = f"https://github.com/{repository}"
    project.write_text(project.read_text() + LINKS.format(home=github, ref=ref, path=member.path))


def with_addresses(readme: str, path: str, repository: str, ref: str) -> str:
    """A README whose relative links and pictures have addresses of their own, for pages that show it elsewhere."""

    def address(link: str, picture: bool) -> str:
        home = (
            f"https://raw.githubusercontent.com/{repository}"
            if picture
            else f"https://github.com/{repository}/blob"
        )
        return f"{home}/{ref}/{normpath(f'{path}/{link}')}"

    def absolute(match: re.Match[str]) -> str:
        picture, text, link = match.groups()
        return f"{picture}[{text}]({address(link, bool(picture))})"

    return IMAGE.sub(lambda match: match[1] + address(match[2], True), LINK.sub(absolute, readme))
