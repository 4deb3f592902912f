"""A run from beginning to end, with workers in this process: what Ray adds is in test_on_ray.py."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inkpunk.orders.manifest import Row
from inkpunk_fleet import Crew, FleetError, Outcome, Requests, Store, StoreError, Worker, fleet
from inkpunk_fleet.cli import main
from inkpunk_fleet.rows import FOLDER, parts, read_rows
from inkpunk_fleet.running import _fitted

WriteRequests = Callable[..., Path]


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(requests: Requests, crew: Crew, address: str | None) -> Iterator[Outcome]:
        yield from Worker(requests.out).meet([*requests.tasks()])

    monkeypatch.setattr(fleet, "draw_on_ray", draw)


def rows(out: Path) -> list[Row]:
    store = Store(str(out))
    return [*read_rows(store, parts(store))]


@pytest.mark.usefixtures("no_ray")
def test_the_command_draws_tells_and_goes_on(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file({"prompt": "a raven", "count": 2}, "{", {"prompt": "a fox", "init": "gone.png"})
    out = tmp_path / "out"
    first, second, third = (
        CliRunner().invoke(main, ["run", str(path), "--out", str(out), *more])
        for more in ([], [], ["--retry-failed"])
    )
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert "2 drawn, 2 failed" in first.output
    assert "line 2: not JSON" in first.output
    assert "0 drawn, 2 there already, 2 failed, 1 of them at an earlier time" in second.output
    assert "0 drawn, 2 there already, 2 failed" in third.output
    told = rows(out)
    done = [row for row in told if row.file]
    assert {str(row.file) for row in done} == {path.name for path in out.glob("*.png")}
    assert len(done) == 2
    assert [row.line for row in told if row.error] == [2, 3, 3]  # the last was tried once more
    assert all(row.order and row.order["prompt"] == "a raven" for row in done)


@pytest.mark.usefixtures("no_ray")
def test_options_hold_for_lines_that_do_not_say_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a raven\n")
    given = ["--steps", "1", "--width", "64", "--height", "64", "--format", "webp"]
    result = CliRunner().invoke(main, ["run", str(path), "--out", str(tmp_path / "out"), *given])
    assert result.exit_code == 0, result.output
    (row,) = rows(tmp_path / "out")
    assert row.file and row.file.endswith("-a-raven.webp")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--workers", "many"], "'many' is neither a number, such as 8, nor MIN:MAX, such as 1:1000"),
        (["--workers", "3:2"], "not more at first than at most"),
        (["--workers", "0"], "give at least one"),
        (["--out", "nosuch://x"], "nosuch://x: cannot be used"),
        (["--steps", "few"], "'few' is not a valid integer"),
        (["--address", "127.0.0.1:1"], "127.0.0.1:1: this cluster cannot be joined"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    requests_file: WriteRequests, given: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cluster(**_: object) -> None:
        raise ConnectionError("nobody\nthere")

    monkeypatch.setattr("ray.init", no_cluster)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    result = CliRunner().invoke(main, ["run", str(requests_file({"prompt": "x"})), *given])
    assert result.exit_code in (1, 2)
    assert said in result.output
    assert "Traceback" not in result.output


def test_rows_are_kept_of_what_was_done_before_a_stop(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    done = Outcome(1, "drawn", row=Row("ab" * 32, file="a.png"))
    outcomes = iter([done, Outcome(2, "stuck", "out: No space left on device")])
    with pytest.raises(StoreError, match="No space left"):
        [*fleet.kept(outcomes, store)]
    assert [row.file for row in rows(tmp_path)] == ["a.png"]


def test_rows_become_parts_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "ROWS", 2)
    store = Store(str(tmp_path))
    told = [Row(f"{i:064x}", file=f"{i}.png", order={"lora": ("a", "b")}) for i in range(5)]
    outcomes = (Outcome(i, "drawn", row=row) for i, row in enumerate(told))
    assert len([*fleet.kept(outcomes, store)]) == 5
    assert len([*(tmp_path / FOLDER).iterdir()]) == 3
    assert sorted(str(row.file) for row in rows(tmp_path)) == [f"{i}.png" for i in range(5)]


def test_an_outcome_travels_as_a_line() -> None:
    for outcome in (
        Outcome(3, "failed", "broke", Row("ab", error="broke", line=3, order={"prompt": "\ud800"})),
        Outcome(4, "there"),
    ):
        assert Outcome.from_json(outcome.to_json()) == outcome


@pytest.mark.parametrize(
    ("crew", "room", "expected"),
    [
        (Crew(), {"CPU": 9.0}, (8, 8, 0)),
        (Crew(cpus=2), {"CPU": 9.0}, (4, 4, 0)),
        (Crew(), {"CPU": 64.0, "GPU": 4.0}, (4, 4, 1)),
        (Crew(gpus=0.5), {"CPU": 64.0, "GPU": 4.0}, (8, 8, 0.5)),
        (Crew(1, 1000, gpus=1), {"CPU": 4.0}, (1, 1000, 1)),
        (Crew(cpus=0, gpus=0), {"CPU": 4.0}, (1, 1, 0)),
    ],
)
def test_a_crew_is_as_large_as_the_cluster_has_room_for(
    crew: Crew, room: dict[str, float], expected: tuple[Any, ...]
) -> None:
    fitted = _fitted(crew, room)
    assert (fitted.least, fitted.most, fitted.gpus) == expected


def test_no_room_is_told() -> None:
    with pytest.raises(
        FleetError, match=r"no room for a worker of 1 CPUs and 2 GPUs; the cluster has 9 CPUs"
    ):
        _fitted(Crew(gpus=2), {"CPU": 9.0, "GPU": 1.0})
