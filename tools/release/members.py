"""The members of a workspace: their names, versions, dependencies and tags."""

import re
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PYTHON = re.compile(r"Programming Language :: Python :: (3\.\d+)")


class ReleaseError(Exception):
    """A release that cannot be; the message says why, and what to do."""


@dataclass(frozen=True)
class Member:
    """A package or an app.

    Attributes:
        root: the workspace's folder.
        folder: its own.
        name: as it is published.
        version: in its pyproject.toml.
        requires: its runtime dependencies.
        pythons: the versions that it is tested with, oldest first, as its classifiers tell.
        commands: what it puts into the path.
    """

    root: Path
    folder: Path
    name: str
    version: Version
    requires: tuple[Requirement, ...]
    pythons: tuple[str, ...]
    commands: tuple[str, ...]

    @classmethod
    def read(cls, root: Path, folder: Path) -> "Member":
        """Read a member's pyproject.toml."""
        told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        requires = tuple(map(Requirement, told["dependencies"]))
        pythons = tuple(match[1] for each in told["classifiers"] if (match := PYTHON.fullmatch(each)))
        commands = tuple(told.get("scripts", ()))
        return cls(root, folder, told["name"], Version(told["version"]), requires, pythons, commands)

    @property
    def module(self) -> str:
        """The name it is imported by."""
        return next(self.folder.glob("src/*/__init__.py")).parent.name

    @property
    def path(self) -> str:
        """Its folder, as git has it."""
        return self.folder.relative_to(self.root).as_posix()

    @property
    def changelog(self) -> Path:
        """What users read of its versions."""
        return self.folder / "CHANGELOG.md"

    @property
    def fragments(self) -> tuple[Path, ...]:
        """What the next version's entry is made of, a file a change."""
        return tuple(sorted((self.folder / "changes").glob("*.md")))

    def tag(self, version: Version | None = None) -> str:
        """What git calls one of its versions."""
        return f"{self.name}-v{version or self.version}"

    def last_tag(self) -> str | None:
        """The tag of its highest version that was released; None before the first."""
        prefix = f"{self.name}-v"
        tags = git(self.root, "tag", "--list", f"{prefix}[0-9]*").split()
        return max(tags, key=lambda tag: Version(tag.removeprefix(prefix)), default=None)

    def commits(self, since: str | None) -> tuple[str, ...]:
        """The subjects of the commits that touched it since a tag, newest first."""
        told = git(
            self.root, "log", "--format=%s", f"{since}..HEAD" if since else "HEAD", "--", f"{self.path}/src"
        )
        return tuple(told.splitlines())

    def requirement(self, name: str) -> Requirement | None:
        """Which versions of another member it takes; None where it needs none."""
        return next((each for each in self.requires if each.name == name), None)


def members(root: Path) -> list[Member]:
    """All members, packages first."""
    folders = [
        path.parent for home in ("packages", "apps") for path in sorted(root.glob(f"{home}/*/pyproject.toml"))
    ]
    return [Member.read(root, folder) for folder in folders]


def member(root: Path, name: str) -> Member:
    """The member of a name.

    Raises:
        ReleaseError: there is none.
    """
    known = {each.name: each for each in members(root)}
    if name not in known:
        raise ReleaseError(f"{name}: no member of this workspace; use {', '.join(known)}")
    return known[name]


def named(root: Path, names: Sequence[str]) -> list[Member]:
    """The members of some names, or all where none is named.

    Raises:
        ReleaseError: there is none of a name.
    """
    return [member(root, name) for name in names] or members(root)


def dev_group(folder: Path) -> list[str]:
    """What the member of a folder is tested with, as its pyproject.toml says."""
    told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return told["dependency-groups"]["dev"]


def git(root: Path, *arguments: str) -> str:
    """Run git, and return what it prints.

    Raises:
        ReleaseError: it refuses.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
