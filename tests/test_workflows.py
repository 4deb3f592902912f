"""The workflows on GitHub: each member has its own, and they differ in nothing but the member."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.release.members import Member, members
from tools.workflows.members import FOLDER, drifted, workflows, write

ROOT = Path(__file__).parent.parent
MEMBERS = members(ROOT)
PUBLISHES = "pypa/gh-action-pypi-publish"
ON = True  # YAML 1.1 reads the key `on` as a boolean


def read(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / FOLDER / name).read_text())


def everyone() -> dict[str, dict[Any, Any]]:
    return {path.name: read(path.name) for path in (ROOT / FOLDER).glob("*.yml")}


def by_name(member: Member) -> str:
    return member.name


def test_no_workflow_of_a_member_has_drifted_from_its_template() -> None:
    assert drifted(ROOT) == [], "run `uv run --group release python -m tools.workflows --write`"


def test_what_has_drifted_is_found_and_made_anew(tmp_path: Path) -> None:
    for each in MEMBERS:
        (tmp_path / each.path).mkdir(parents=True)
        (tmp_path / each.path / "pyproject.toml").write_text((each.folder / "pyproject.toml").read_text())
    (tmp_path / FOLDER).mkdir(parents=True)
    assert drifted(tmp_path) == [*workflows(tmp_path)]
    write(tmp_path)
    assert drifted(tmp_path) == []
    vae, gone = (FOLDER / f"release-inkpunk-{name}.yml" for name in ("vae", "gone"))
    right = (tmp_path / vae).read_text()
    (tmp_path / vae).write_text(right.replace("needs: files", "needs: []"))
    (tmp_path / gone).write_text(right)
    assert drifted(tmp_path) == [vae, gone]
    write(tmp_path)
    assert (tmp_path / vae).read_text() == right and not (tmp_path / gone).exists()


@pytest.mark.parametrize("member", MEMBERS, ids=by_name)
def test_a_workflow_runs_for_the_members_own_paths_on_every_python_that_it_is_for(member: Member) -> None:
    workflow = read(f"{member.name}.yml")
    assert f"{member.path}/**" in workflow[ON]["push"]["paths"]
    assert workflow[ON]["pull_request"]["paths"] == workflow[ON]["push"]["paths"]
    given = workflow["jobs"]["package"]["with"]
    assert (given["name"], given["directory"]) == (member.name, member.path)
    assert json.loads(given["pythons"]) == ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.parametrize("member", MEMBERS, ids=by_name)
def test_a_members_tag_publishes_it_and_no_other(member: Member) -> None:
    tag = member.tag()
    started = [
        name
        for name, each in everyone().items()
        for pattern in (each[ON] or {}).get("push", {}).get("tags", ())
        if re.fullmatch(pattern.replace("*", ".*"), tag)
    ]
    assert started == [f"release-{member.name}.yml"]
    jobs = read(started[0])["jobs"]
    assert json.loads(jobs["files"]["with"]["pythons"]) == ["3.11", "3.14"]
    assert (jobs["publish"]["needs"], jobs["announce"]["needs"]) == ("files", "publish")
    assert jobs["publish"]["environment"]["url"] == f"https://pypi.org/project/{member.name}/"


def test_what_pypi_trusts_is_the_workflow_that_the_tag_starts() -> None:
    for name, workflow in everyone().items():
        steps = [step for job in workflow["jobs"].values() for step in job.get("steps", ())]
        publishes = any(step.get("uses", "").startswith(PUBLISHES) for step in steps)
        assert publishes == name.startswith("release-inkpunk")
        assert not publishes or {*workflow[ON]} == {"push"}


def test_a_workflow_that_others_call_is_told_what_it_asks_for() -> None:
    for workflow in everyone().values():
        for job in workflow["jobs"].values():
            if called := job.get("uses"):
                asked = (read(Path(called).name)[ON]["workflow_call"] or {}).get("inputs", {})
                assert {*job.get("with", ())} == {*asked}


def test_nothing_is_allowed_to_a_workflow_but_what_a_job_names() -> None:
    for name, workflow in everyone().items():
        assert workflow["permissions"] == {}, name
        assert all("permissions" in job for job in workflow["jobs"].values()), name
