"""The rules of the house that no single package can check."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MEMBERS = sorted([*ROOT.glob("packages/*"), *ROOT.glob("apps/*")])
PACKAGES = [member for member in MEMBERS if member.parent.name == "packages"]


def project(member: Path) -> dict:
    return tomllib.loads((member / "pyproject.toml").read_text())["project"]


def by_name(member: Path) -> str:
    return member.name


@pytest.mark.parametrize("member", MEMBERS, ids=by_name)
def test_a_member_is_complete(member: Path) -> None:
    module = next(member.glob("src/*/py.typed")).parent
    assert (module / "__init__.py").exists()
    assert list(member.glob("tests/test_*.py"))
    assert "```python" in (member / "README.md").read_text() or member.name == "pipeline"


@pytest.mark.parametrize("member", [each for each in MEMBERS if project(each)["dependencies"]], ids=by_name)
def test_a_members_own_tests_check_the_types_and_shapes_of_its_every_call(member: Path) -> None:
    settings = tomllib.loads((member / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    modules = [path.parent.name for path in member.glob("src/*/py.typed")]
    assert f"--jaxtyping-packages={','.join(modules)},beartype.beartype" in settings["addopts"]


@pytest.mark.parametrize("member", MEMBERS, ids=by_name)
def test_the_changelog_begins_with_the_version(member: Path) -> None:
    newest = re.search(r"^## (\S+)", (member / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == project(member)["version"]


@pytest.mark.parametrize("member", MEMBERS, ids=by_name)
def test_the_oracles_are_no_runtime_dependencies(member: Path) -> None:
    named = {re.split(r"[<>=~! ]", dependency)[0] for dependency in project(member)["dependencies"]}
    assert not named & {"diffusers", "transformers", "accelerate"}


def test_an_app_names_its_packages_by_version_range() -> None:
    for member in ROOT.glob("apps/*"):
        for dependency in project(member)["dependencies"]:
            if dependency.startswith("inkpunk"):
                assert re.search(r">=\d+\.\d+(\.\d+)?,<\d+\.\d+", dependency), dependency
