"""Releases a member of the workspace, or shows what each would be released as:

    uv run python -m tools.release
    uv run python -m tools.release inkpunk-vae [--as patch|minor|major|VERSION] [--update-dependents]
    uv run python -m tools.release --check origin/main

The first shows, for each, what changed since its last tag, whether its public face did, and which version that asks
for. The second raises its version, closes its changelog, commits and tags; push the tag, and its workflow publishes
it. The third lists members that changed since a commit and tell their users nothing of it, and fails if there is one.
"""

import argparse
import sys
from pathlib import Path

from .members import Member, ReleaseError, members
from .releasing import change_of, missing_fragments, next_version, release

COLUMNS = ("member", "version", "last tag", "commits since", "public face", "told", "next")


def row(member: Member) -> tuple[str, ...]:
    """What is known of a member, by `COLUMNS`."""
    tag = member.last_tag()
    told = f"{len(member.fragments)} in changes/"
    try:
        following = str(next_version(member))
    except ReleaseError as error:
        following = str(error).partition(": ")[2].partition(";")[0]
    commits = str(len(member.commits(tag)))
    return member.name, str(member.version), tag or "none", commits, str(change_of(member)), told, following


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tools.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("member", nargs="?", help="which to release")
    parser.add_argument("--as", dest="asked", metavar="PART|VERSION", help="patch, minor, major or a version")
    parser.add_argument(
        "--update-dependents", action="store_true", help="widen ranges that exclude the new version"
    )
    parser.add_argument(
        "--check", metavar="COMMIT", help="list members that changed since, and tell nothing of it"
    )
    options, root = parser.parse_args(arguments), Path.cwd()
    try:
        if options.check:
            silent = missing_fragments(root, options.check)
            for each in silent:
                print(f"{each.name}: changed, and {each.path}/changes says nothing of it", file=sys.stderr)
            return int(bool(silent))
        if options.member is None:
            print("|", " | ".join(COLUMNS), "|\n|" + " --- |" * len(COLUMNS))
            for each in members(root):
                print("|", " | ".join(row(each)), "|")
            return 0
        tag = release(root, options.member, options.asked, update_dependents=options.update_dependents)
        print(f"{tag} is committed and tagged here. To publish it: git push origin main {tag}")
        return 0
    except ReleaseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
