"""Releases, in a scratch clone of this repository."""

import re
import subprocess
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tools.release.__main__ import main, row
from tools.release.building import prepare, with_addresses
from tools.release.faces import FaceChange
from tools.release.members import Member, ReleaseError, git, member, members
from tools.release.oldest import above, lowest
from tools.release.publish import notes, of_tag
from tools.release.rehearse import needs, runnable
from tools.release.releasing import missing_fragments, next_version, release
from tools.release.versions import asked_for, part_of, raised, range_for

ROOT = Path(__file__).parent.parent
VAE = "inkpunk-vae"
TILING = "packages/inkpunk-vae/src/inkpunk_vae/tiling.py"
DAY = date(2027, 1, 2)

Commit = Callable[[str, dict[str, str]], None]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This repository, and in it every member as it was released just now."""
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tmp_path / "clone"], check=True)
    root = tmp_path / "clone"
    for name, value in (("user.name", "Maintainer"), ("user.email", "maintainer@example.org")):
        git(root, "config", name, value)
    if waiting := [fragment for each in members(root) for fragment in each.fragments]:
        git(root, "rm", "--quiet", *waiting)
        git(root, "commit", "--quiet", "--message", "Release all")
    for each in members(root):
        git(root, "tag", each.tag())
    return root


@pytest.fixture
def commit(clone: Path) -> Commit:
    def commit(message: str, changes: dict[str, str]) -> None:
        for name, text in changes.items():
            (clone / name).parent.mkdir(exist_ok=True)
            (clone / name).write_text(text)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", message)

    return commit


def broken(clone: Path) -> dict[str, str]:
    """The VAE without an argument of a public function, and a fragment that says so."""
    source = (clone / TILING).read_text()
    assert "circular: bool = False" in source
    return {
        TILING: source.replace("circular: bool = False", "wrapped: bool = False"),
        "packages/inkpunk-vae/changes/wrapped.breaking.md": "`tiled_decode`'s `circular` is called `wrapped`.\n",
    }


def test_a_breaking_change_is_no_patch_and_a_minor_version_under_0(clone: Path, commit: Commit) -> None:
    commit("Rename an argument", broken(clone))
    before = git(clone, "rev-parse", "HEAD")
    with pytest.raises(ReleaseError) as refused:
        release(clone, VAE, "patch", update_dependents=True)
    now = member(clone, VAE).version
    following = raised(now, "minor")
    assert str(refused.value).startswith(
        f"{VAE} {raised(now, 'patch')}: a minor release is needed, {following}: "
    )
    assert "tiled_decode(circular): Parameter was removed" in str(refused.value)
    assert git(clone, "rev-parse", "HEAD") == before and not git(clone, "status", "--porcelain")

    with pytest.raises(
        ReleaseError, match=rf"{following}: is excluded by inkpunk \({VAE}.*--update-dependents"
    ):
        release(clone, VAE)
    assert release(clone, VAE, update_dependents=True, day=DAY) == f"{VAE}-v{following}"
    assert not git(clone, "status", "--porcelain")
    assert git(clone, "log", "-1", "--format=%s").strip() == f"Release {VAE} {following}"
    assert git(clone, "tag", "--points-at", "HEAD").split() == [f"{VAE}-v{following}"]
    released = member(clone, VAE)
    assert released.version == following and not released.fragments
    changelog = released.changelog.read_text()
    assert changelog.startswith(
        f"# Changelog\n\n## {following} - 2027-01-02\n\n"
        f"- **Breaking.** `tiled_decode`'s `circular` is called `wrapped`.\n\n## {now} - "
    )
    app = member(clone, "inkpunk")
    assert str(app.requirement(VAE)) == f"{VAE}<0.{following.minor + 1},>=0.{following.minor}"
    assert [each.read_text() for each in app.fragments] == [f"Takes {VAE} {following}.\n"]
    assert next_version(app) == raised(
        app.version, "patch"
    )  # dependents are told, and have something to release
    assert f'name = "{VAE}"\nversion = "{following}"' in (clone / "uv.lock").read_text()


def test_what_does_not_break_is_a_patch_that_dependents_take_as_they_are(clone: Path, commit: Commit) -> None:
    commit("Mend a thing", {"packages/inkpunk-vae/changes/mended.fixed.md": "A thing.\n"})
    app = member(clone, "inkpunk")
    assert release(clone, VAE) == f"{VAE}-v{raised(member(ROOT, VAE).version, 'patch')}"
    assert member(clone, "inkpunk") == app and not app.fragments
    with pytest.raises(ReleaseError, match="no changelog: a release is for its users"):
        release(clone, VAE)


def test_a_tree_that_is_not_clean_is_refused(clone: Path) -> None:
    (clone / "note.txt").write_text("x")
    with pytest.raises(ReleaseError, match=r"not clean; commit or stash first:\n\?\? note.txt"):
        release(clone, VAE)


def test_a_change_that_tells_nothing_is_refused(
    clone: Path, commit: Commit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {name: text for name, text in broken(clone).items() if name == TILING}
    commit("Rename an argument", silent)
    with pytest.raises(ReleaseError, match=r"no changelog: its public face has changed \(\d breaking\)"):
        release(clone, VAE)
    assert [each.name for each in missing_fragments(clone, "HEAD~1")] == [VAE]
    monkeypatch.chdir(clone)
    assert main(["--check", "HEAD~1"]) == 1 and main(["--check", "HEAD"]) == 0
    assert (
        "inkpunk-vae: changed, and packages/inkpunk-vae/changes says nothing of it" in capsys.readouterr().err
    )
    commit("Tell it", {"packages/inkpunk-vae/changes/wrapped.braking.md": "x"})
    assert main([VAE]) == 1
    assert "wrapped.braking.md: name it SOMETHING.KIND.md" in capsys.readouterr().err
    told = row(member(clone, VAE))
    assert told[3:] == (
        "1",
        "2 breaking",
        "1 in changes/",
        "name it SOMETHING.KIND.md, with breaking, added, fixed as KIND",
    )


def test_a_release_that_fails_midway_leaves_everything_as_it_was(
    clone: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit("Rename an argument", broken(clone))
    head = git(clone, "rev-parse", "HEAD")
    monkeypatch.setattr("tools.release.releasing.CONFIG", clone / "no.toml")
    with pytest.raises(ReleaseError, match="towncrier"):
        release(clone, VAE, update_dependents=True)
    assert git(clone, "rev-parse", "HEAD") == head and not git(clone, "status", "--porcelain")


def test_the_first_release_is_the_version_that_is_there(clone: Path) -> None:
    chosen = member(clone, VAE)
    git(clone, "tag", "--delete", chosen.tag())
    head = git(clone, "rev-parse", "HEAD")
    assert release(clone, VAE) == chosen.tag()
    assert git(clone, "rev-parse", "HEAD") == head
    with pytest.raises(ReleaseError, match="inkpunk-nought: no member of this workspace; use inkpunk-clip"):
        release(clone, "inkpunk-nought")


@pytest.mark.parametrize(
    ("version", "face", "kinds", "part"),
    [
        ("0.2.1", FaceChange(("x: is gone",)), set(), "minor"),
        ("1.2.1", FaceChange(("x: is gone",)), set(), "major"),
        ("0.2.1", FaceChange((), ("y",)), {"added"}, "patch"),
        ("1.2.1", FaceChange((), ("y",)), set(), "minor"),
        ("1.2.1", FaceChange(), {"breaking", "fixed"}, "major"),
        ("1.2.1", FaceChange(), {"fixed"}, "patch"),
    ],
)
def test_versions_mean_something(version: str, face: FaceChange, kinds: set[str], part: str) -> None:
    assert asked_for(Version(version), face, kinds) == part
    assert part_of(Version(version), raised(Version(version), part)) == part


def test_a_range_takes_what_may_not_break() -> None:
    ranges = {"0.3.0": ">=0.3,<0.4", "0.3.2": ">=0.3.2,<0.4", "1.0.0": ">=1.0.0,<2", "2.1.3": ">=2.1.3,<3"}
    assert {version: range_for(Version(version)) for version in ranges} == ranges
    assert [str(raised(Version("1.2.3"), part)) for part in ("patch", "minor", "major")] == [
        "1.2.4",
        "1.3.0",
        "2.0.0",
    ]


def test_members_are_found() -> None:
    assert all(isinstance(each, Member) and each.module.startswith("inkpunk") for each in members(ROOT))


def test_a_readme_shows_its_pictures_wherever_it_is_shown() -> None:
    readme = (
        "![A sheet](sheet.png) [the app](../../README.md#use) [torch](https://pytorch.org) [here](#there) "
        "[wrapped](\nsheet.png) "
        '<img src="sheet.png" width="240"> <img src="https://pytorch.org/logo.png">'
    )
    told = with_addresses(readme, "packages/inkpunk-sketch", "owner/inkpunk", "inkpunk-sketch-v1.0.0")
    home = "owner/inkpunk/inkpunk-sketch-v1.0.0/packages/inkpunk-sketch"
    assert told == (
        f"![A sheet](https://raw.githubusercontent.com/{home}/sheet.png) "
        "[the app](https://github.com/owner/inkpunk/blob/inkpunk-sketch-v1.0.0/README.md#use) "
        "[torch](https://pytorch.org) [here](#there) "
        "[wrapped](https://github.com/owner/inkpunk/blob/inkpunk-sketch-v1.0.0/packages/inkpunk-sketch/sheet.png) "
        f'<img src="https://raw.githubusercontent.com/{home}/sheet.png" width="240"> '
        '<img src="https://pytorch.org/logo.png">'
    )


@pytest.mark.parametrize("each", members(ROOT), ids=lambda each: each.name)
def test_every_address_of_a_readme_leads_somewhere(each: Member) -> None:
    told = with_addresses((each.folder / "README.md").read_text(), each.path, "owner/inkpunk", "ref")
    beside = re.findall(r'(?:\]\(|src="|href=")((?!https?:|#)[^)"]*)', told)
    assert not beside, "these would lead nowhere on a package's page"
    ours = re.findall(
        r"https://(?:raw.githubusercontent.com/owner/inkpunk|github.com/owner/inkpunk/blob)/ref/([^)#\"]*)",
        told,
    )
    assert all((ROOT / path).exists() for path in ours), ours


def test_what_is_published_is_what_git_has(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    chosen = of_tag(ROOT, member(ROOT, "inkpunk-sketch").tag())
    prepare(chosen, "owner/inkpunk", "abc", tmp_path / "out")
    told = tomllib.loads((tmp_path / "out" / "pyproject.toml").read_text())["project"]
    assert told["urls"]["Changelog"].endswith("/blob/abc/packages/inkpunk-sketch/CHANGELOG.md")
    assert (tmp_path / "out" / "src" / "inkpunk_sketch" / "__init__.py").exists()
    assert not list((tmp_path / "out").rglob("__pycache__"))
    assert notes(chosen).startswith("- ")
    with pytest.raises(
        ReleaseError, match=r"inkpunk-sketch-v0.0.1: packages/inkpunk-sketch/pyproject.toml says"
    ):
        of_tag(ROOT, "inkpunk-sketch-v0.0.1")


@pytest.mark.parametrize("each", members(ROOT), ids=lambda each: each.name)
def test_a_member_says_what_package_pages_show(each: Member) -> None:
    told = tomllib.loads((each.folder / "pyproject.toml").read_text())["project"]
    assert {"keywords", "classifiers", "description", "readme", "license-files"} <= {*told}
    assert (each.folder / "LICENSE").read_text().startswith((ROOT / "LICENSE").read_text())
    assert all((each.folder / name).exists() for name in told["license-files"])
    assert "promises" in (each.folder / "README.md").read_text()  # about compatibility


def test_the_table_of_wheels_tells_what_each_member_needs() -> None:
    [told] = re.findall(
        r"<!-- wheels -->\n(.*?)<!-- end -->", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines()[2:]]
    shown = {
        name: (Version(version) <= member(ROOT, name).version, needed) for name, version, *_, needed in rows
    }
    assert shown == {each.name: (True, needs(each)) for each in members(ROOT)}, (
        "run `uv run --group release python -m tools.release.rehearse --until built --write`"
    )


@pytest.mark.parametrize(
    ("needed", "least"),
    [
        ("torch>=2.6", "2.6"),
        ("inkpunk>=0.12,<0.14", "0.12"),
        ("zensical==0.0.73", "0.0.73"),
        ("ray[data]<3", None),
    ],
)
def test_the_oldest_that_a_member_says_it_works_with(needed: str, least: str | None) -> None:
    assert lowest(Requirement(needed)) == (least and Version(least))


def test_what_was_tried_in_a_newer_version_than_the_oldest_is_told() -> None:
    declared = [Requirement(each) for each in ("torch>=2.6", "PyYAML>=6", "pillow>=11", "rich")]
    installed = {
        name: Version(version) for name, version in {"torch": "2.6.0", "pyyaml": "6.0.1", "rich": "9"}.items()
    }
    assert above(declared, installed) == ["PyYAML 6.0.1, not 6"]


def test_an_example_that_takes_more_than_its_member_installs_is_left_out() -> None:
    imports = ("import inkpunk_vae", "from diffusers import AutoencoderKL", "import inkpunk_clip")
    readme = "\n".join(f"```python\n{each}\n```" for each in imports)
    assert runnable(member(ROOT, VAE), readme) == ["import inkpunk_vae\n"]
    assert runnable(member(ROOT, "inkpunk"), readme) == ["import inkpunk_vae\n", "import inkpunk_clip\n"]
