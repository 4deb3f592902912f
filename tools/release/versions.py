"""Which version a change asks for: semantic versions, where under 0.x a minor one may break."""

from packaging.version import Version

from .faces import FaceChange

PARTS = ("patch", "minor", "major")
BREAKING, ADDED = "breaking", "added"


def asked_for(version: Version, face: FaceChange, kinds: set[str]) -> str:
    """The part that has to rise, at least.

    Args:
        version: the one that was released.
        face: what has changed of the public face since.
        kinds: of the fragments that tell of it.
    """
    if face.breaking or BREAKING in kinds:
        return "minor" if version.major == 0 else "major"
    if face.added or ADDED in kinds:
        return "patch" if version.major == 0 else "minor"
    return "patch"


def raised(version: Version, part: str) -> Version:
    """The next version whose part has risen."""
    place = len(PARTS) - 1 - PARTS.index(part)
    numbers = [*version.release, 0, 0][:3]
    return Version(".".join(map(str, [*numbers[:place], numbers[place] + 1, *[0] * (2 - place)])))


def part_of(old: Version, new: Version) -> str:
    """Which part rises from one version to another."""
    return next(part for part, a, b in zip(reversed(PARTS), old.release, new.release, strict=True) if a != b)


def range_for(version: Version) -> str:
    """The versions that a dependent takes, which was tried with this one: those that may not break it."""
    if version.major:
        return f">={version},<{version.major + 1}"
    shown = f"0.{version.minor}" if version.micro == 0 else str(version)
    return f">={shown},<0.{version.minor + 1}"
