"""A member's release: its version rises, its changelog is closed, its dependents follow; one commit and a tag."""

import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version

from .faces import FaceChange, face_change
from .members import Member, ReleaseError, git, member, members
from .versions import BREAKING, PARTS, asked_for, part_of, raised, range_for

CONFIG = Path(__file__).with_name("towncrier.toml")
HEADING = "# Changelog\n"
KINDS = (BREAKING, "added", "fixed")
FRAGMENT = re.compile(rf".+\.({'|'.join(KINDS)})(\.\d+)?\.md")


def kinds_of(member: Member) -> set[str]:
    """The kinds of the changes that a member's fragments tell of.

    Raises:
        ReleaseError: for a fragment that is named otherwise, or is empty.
    """
    kinds = set[str]()
    for fragment in member.fragments:
        match = FRAGMENT.fullmatch(fragment.name)
        if match is None:
            raise ReleaseError(
                f"{member.path}/changes/{fragment.name}: name it SOMETHING.KIND.md, with {', '.join(KINDS)} as KIND"
            )
        if not fragment.read_text().strip():
            raise ReleaseError(f"{member.path}/changes/{fragment.name}: is empty; say what changes for users")
        kinds.add(match[1])
    return kinds


def change_of(member: Member) -> FaceChange:
    """What changed of a member's public face since its last tag."""
    tag = member.last_tag()
    return face_change(member, tag) if tag else FaceChange()


def next_version(member: Member, asked: str | None = None) -> Version:
    """The version that a member is released as.

    Args:
        member: which.
        asked: "patch", "minor", "major" or a version; None for what its changes ask for.

    Raises:
        ReleaseError: nothing has changed, nothing tells of it, or it would break those who rely on the version.
    """
    tag, kinds = member.last_tag(), kinds_of(member)
    if tag is None:  # the first is the one that is there
        if member.fragments:
            raise ReleaseError(
                f"{member.name}: was never released, and {member.path}/changes tells of a change to what nobody has; "
                f"say it in {member.path}/CHANGELOG.md under {member.version}"
            )
        if f"\n## {member.version} " not in member.changelog.read_text():
            raise ReleaseError(f"{member.path}/CHANGELOG.md: has no entry for {member.version}; write it")
        return member.version
    if tag != member.tag():
        raise ReleaseError(
            f"{member.name}: pyproject.toml says {member.version}, and its last tag is {tag}; put the version back, "
            "which this command raises"
        )
    face = change_of(member)
    if not member.fragments:
        reason = (
            "a release is for its users" if face == FaceChange() else f"its public face has changed ({face})"
        )
        raise ReleaseError(
            f"{member.name}: no changelog: {reason}; say what changes for them in {member.path}/changes/NAME.KIND.md"
        )
    needed = asked_for(member.version, face, kinds)
    part = needed if asked is None else asked
    version = raised(member.version, part) if part in PARTS else _version(part)
    if version <= member.version:
        raise ReleaseError(f"{member.name} {version}: is not above {member.version}, which was released")
    if PARTS.index(part_of(member.version, version)) < PARTS.index(needed):
        why = "; ".join(face.breaking or face.added) or f"{', '.join(sorted(kinds))} in {member.path}/changes"
        raise ReleaseError(
            f"{member.name} {version}: a {needed} release is needed, {raised(member.version, needed)}: {why}"
        )
    return version


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion as error:
        raise ReleaseError(f"{text!r}: is no version; give one, as 0.3.0, or {', '.join(PARTS)}") from error


def left_behind(root: Path, name: str, version: Version) -> list[Member]:
    """The members that need another, and whose range excludes its version."""
    needed = [(each, each.requirement(name)) for each in members(root)]
    return [each for each, requires in needed if requires and version not in requires.specifier]


def release(
    root: Path,
    name: str,
    asked: str | None = None,
    *,
    update_dependents: bool = False,
    day: date | None = None,
) -> str:
    """Release a member, and return its tag; nothing is pushed.

    Args:
        root: the workspace.
        name: of the member.
        asked: as of `next_version`.
        update_dependents: have members take the new version whose range excludes it, and note so for their own
            next releases.
        day: of the changelog; None is today.

    Raises:
        ReleaseError: saying why not; everything is as it was.
    """
    if changed := git(root, "status", "--porcelain").strip():
        raise ReleaseError(f"the working tree is not clean; commit or stash first:\n{changed}")
    chosen = member(root, name)
    version = next_version(chosen, asked)
    behind = left_behind(root, name, version)
    if behind and not update_dependents:
        ranges = ", ".join(f"{each.name} ({each.requirement(name)})" for each in behind)
        raise ReleaseError(
            f"{name} {version}: is excluded by {ranges}; try them with it, and add --update-dependents, which widens "
            "their ranges"
        )
    try:
        for each in behind:
            _widen(each, name, version)
        if chosen.fragments:
            _set_version(chosen, version)
            _close_changelog(chosen, version, day or date.today())
        _run(root, ["uv", "lock", "--quiet"])
    except BaseException:
        git(root, "reset", "--quiet", "--hard")  # it was clean
        git(root, "clean", "--quiet", "--force", "-d")
        raise
    if git(root, "status", "--porcelain").strip():
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message", f"Release {name} {version}")
    git(root, "tag", "--annotate", chosen.tag(version), "--message", f"{name} {version}")
    return chosen.tag(version)


def _set_version(member: Member, version: Version) -> None:
    file = member.folder / "pyproject.toml"
    file.write_text(file.read_text().replace(f'version = "{member.version}"', f'version = "{version}"', 1))


def _close_changelog(member: Member, version: Version, day: date) -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--config", str(CONFIG), "--dir", "."]
    told = ["--name", member.name, "--version", str(version), "--date", day.isoformat()]
    entry = _run(member.folder, [*command, *told]).strip()
    before = member.changelog.read_text().removeprefix(HEADING)
    member.changelog.write_text(f"{HEADING}\n{entry}\n{before}")
    for fragment in member.fragments:
        fragment.unlink()


def _widen(dependent: Member, name: str, version: Version) -> None:
    file = dependent.folder / "pyproject.toml"
    named = rf'"{re.escape(name)} *[<>=~!][^"]*"'
    file.write_text(re.sub(named, f'"{name}{range_for(version)}"', file.read_text()))
    if dependent.last_tag():  # one that was never released tells of it with all else
        note = dependent.folder / "changes" / f"{name}-{version}.added.md"
        note.parent.mkdir(exist_ok=True)
        note.write_text(f"Takes {name} {version}.\n")


def _run(folder: Path, command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def missing_fragments(root: Path, base: str) -> list[Member]:
    """The members whose source differs from a commit's, and that tell their users nothing of it."""
    changed = git(root, "diff", "--name-only", f"{base}...HEAD").splitlines()
    return [
        each
        for each in members(root)
        if any(path.startswith(f"{each.path}/src/") for path in changed)
        and not any(
            path.startswith((f"{each.path}/changes/", f"{each.path}/CHANGELOG.md")) for path in changed
        )
    ]
