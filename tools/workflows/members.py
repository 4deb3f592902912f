"""The workflows of each member, which differ in what pyproject.toml says of it and in nothing else."""

import json
from pathlib import Path

from tools.release.members import Member, members

FOLDER = Path(".github/workflows")
TEMPLATES = Path(__file__).with_name("templates")


def workflows(root: Path) -> dict[Path, str]:
    """What every member's workflows have to be, by their paths in the repository."""
    changes, release = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("changes.yml", "release.yml")
    )
    return {
        FOLDER / name: filled(template, each)
        for each in members(root)
        for name, template in ((f"{each.name}.yml", changes), (f"release-{each.name}.yml", release))
    }


def filled(template: str, member: Member) -> str:
    """A template, with what it leaves open said of a member."""
    ends = dict.fromkeys((member.pythons[0], member.pythons[-1]))
    for name, value in {
        "name": member.name,
        "folder": member.path,
        "pythons": json.dumps(member.pythons),
        "ends": json.dumps([*ends]),
    }.items():
        template = template.replace(f"@{name}@", value)
    return template


def drifted(root: Path) -> list[Path]:
    """The members' workflows that are not as they have to be, and those of members that are no more."""
    right = workflows(root)
    wrong = [path for path, text in right.items() if not _says(root / path, text)]
    ours = (path.relative_to(root) for path in (root / FOLDER).glob("*inkpunk*.yml"))
    return [*wrong, *(path for path in ours if path not in right)]


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def write(root: Path) -> None:
    """Write the members' workflows anew, and remove those of members that are no more."""
    for path in drifted(root):
        (root / path).unlink(missing_ok=True)
    for path, text in workflows(root).items():
        (root / path).write_text(text, encoding="utf-8", newline="\n")
