"""Whatever ends the studio, the next start goes on."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inkpunk import Order
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import Attachment
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.worker import MOST_TRIES

Make = Callable[..., Order]
PATIENCE = 30.0


def killed(desk: Desk, state: Path) -> Settings:
    """What a desk that is killed now leaves, for the next one: a copy of its folder, as it is."""
    from dataclasses import replace

    # what is half written then has another name a moment later, and cannot be copied
    shutil.copytree(desk.settings.state, state, ignore=shutil.ignore_patterns("*.tmp"))
    return replace(desk.settings, state=state)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_unfinished_jobs_are_gone_on_with_in_their_order(
    open_desk: Any, gate: Any, order: Make, tmp_path: Path
) -> None:
    red = Attachment((Path(__file__).parent / "red.png").read_bytes())
    desk = open_desk(load=gate)
    first = desk.submit([order(seed=1), order(seed=2)], client="test", warnings=["mind"]).id
    gate.let_pass(3)
    until(lambda: desk.job(first).progress.step == 1 and desk.job(first).progress.picture == 1)
    second, third = (
        desk.submit([order(seed=seed, init=red.name)], client="page", attachments=[red]).id for seed in (3, 4)
    )
    cancelled = desk.submit([order()], client="test").id
    desk.cancel(cancelled)
    desk.move(third, 0)
    left = killed(desk, tmp_path / "left")
    before = desk.job(first).drawn

    again = open_desk(state=left.state)
    ended = [again.wait(id, PATIENCE) for id in (first, third, second)]
    assert [job.state for job in ended] == ["done"] * 3
    assert [job.ended for job in ended] == sorted(job.ended for job in ended)
    assert ended[0].drawn[0] == before[0]  # not drawn again
    assert [each.seed for job in ended for each in job.drawn] == [1, 2, 4, 3]
    assert (ended[0].warnings, ended[2].client) == (("mind",), "page")
    assert again.job(cancelled).state == "cancelled"
    assert len([*left.pictures.glob("*.png")]) == 4


def test_a_picture_that_was_saved_and_not_noted_is_not_drawn_again(
    open_desk: Any, gate: Any, order: Make, tmp_path: Path
) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order()], client="test").id
    left = killed(desk, tmp_path / "left")
    gate.let_pass(2)
    path = desk.wait(id, PATIENCE).drawn[0].path
    written = path.stat().st_mtime_ns
    job = open_desk(state=left.state).wait(id, PATIENCE)
    assert (job.state, job.drawn[0].path, job.drawn[0].seed) == ("done", path, 7)
    assert "Seed: 7" in job.drawn[0].infotext
    assert path.stat().st_mtime_ns == written


def test_a_desk_that_is_closed_stops_within_a_step_and_the_next_goes_on(
    open_desk: Any, gate: Any, order: Make
) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order(steps=20)], client="test").id
    gate.let_pass(1)
    until(lambda: desk.job(id).progress.step == 1)
    gate.let_pass(1)
    desk.close()
    assert not [*desk.settings.pictures.iterdir()]
    assert open_desk().wait(id, PATIENCE).state == "done"


def test_results_outlive_the_studio_for_their_time(open_desk: Any, order: Make) -> None:
    desk = open_desk()
    id = desk.submit([order()], client="test").id
    before = desk.wait(id, PATIENCE)
    desk.close()
    assert open_desk().job(id) == before


def test_a_job_that_ends_the_studio_each_time_is_given_up(
    open_desk: Any, gate: Any, order: Make, tmp_path: Path
) -> None:
    desk = open_desk(load=gate)
    id = desk.submit([order()], client="test").id
    for run in range(MOST_TRIES):
        file = desk.settings.state / "jobs" / id / "job.json"
        until(lambda run=run, file=file: json.loads(file.read_bytes())["tries"] == run + 1)
        left = killed(desk, tmp_path / f"left-{run}")
        desk = open_desk(load=gate, state=left.state)
    job = desk.wait(id, PATIENCE)
    assert job.state == "failed"
    assert job.error == "the studio ended 5 times while it drew this; does it take too much memory?"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"orders": [{}]}', b'{"orders": 5}'])
def test_a_file_that_is_no_job_is_passed_over(open_desk: Any, order: Make, content: bytes) -> None:
    desk = open_desk()
    done = desk.wait(desk.submit([order()], client="test").id, PATIENCE)
    desk.close()
    broken = desk.settings.state / "jobs" / ("0" * 32)
    broken.mkdir()
    (broken / "job.json").write_bytes(content)
    (desk.settings.state / "order.json").write_bytes(content)
    assert [job.id for job in open_desk().jobs()] == [done.id]
    assert not broken.exists()
