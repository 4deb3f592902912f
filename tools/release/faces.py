"""What changed of a member's public face, which is what its top level exports, by griffe's reading of the source."""

from collections.abc import Mapping
from dataclasses import dataclass

import griffe

from .members import Member


@dataclass(frozen=True)
class FaceChange:
    """What changed of a public face.

    Attributes:
        breaking: what callers of before would stumble over, in words.
        added: the names that are new.
    """

    breaking: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [f"{len(self.breaking)} breaking"] * bool(self.breaking) + [f"{len(self.added)} added"] * bool(
            self.added
        )
        return ", ".join(told) or "as it was"


def face_change(member: Member, since: str) -> FaceChange:
    """Compare the public face with that of a tag."""
    old = griffe.load_git(
        member.module, ref=since, repo=member.root, search_paths=[f"{member.path}/src"], allow_inspection=False,
        resolve_aliases=True,
    )  # fmt: skip
    new = griffe.load(
        member.module, search_paths=[member.folder / "src"], allow_inspection=False, resolve_aliases=True
    )
    before, now = _exports(old), _exports(new)
    gone = (f"{name}: is gone" for name in sorted(before - now))
    shown = {old[name].canonical_path: name for name in before & now}
    broken = (told for each in griffe.find_breaking_changes(old, new) if (told := _in_words(each, shown)))
    return FaceChange((*gone, *dict.fromkeys(broken)), tuple(sorted(now - before)))


def _in_words(breakage: griffe.Breakage, shown: Mapping[str, str]) -> str | None:
    """What breaks of a thing that the top level shows, or of its members; None for what nobody can rely on."""
    path = breakage.obj.canonical_path
    home = next((each for each in shown if path == each or path.startswith(f"{each}.")), None)
    if home is None:
        return None
    old = breakage.old_value
    which = f"({old.name})" if isinstance(old, griffe.Parameter) else ""
    return f"{shown[home]}{path.removeprefix(home)}{which}: {breakage.kind.value}"


def _exports(package: griffe.Object | griffe.Alias) -> set[str]:
    return {str(name) for name in package.exports or ()}
