"""On a real cluster, one for the whole file, on this machine."""

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from inkpunk.orders.batch import draw_orders
from inkpunk.orders.files import read_orders
from inkpunk_fleet import Crew, Store, run
from inkpunk_fleet.rows import parts, read_rows
from inkpunk_fleet.running import _cluster

WriteRequests = Callable[..., Path]

# Ray warns of its own uses of what it deprecates, and leaves pipes of the processes that it starts to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:::ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with _cluster(Crew(most=1), None) as joined:  # which imports ray, told what it reads as it is imported
        assert not joined.get_runtime_context().runtime_env  # as it would have under `uv run`
        yield joined


def check(out: Path) -> None:
    """Every picture has one row, which tells its hash."""
    store = Store(str(out))
    told = [row for row in read_rows(store, parts(store)) if row.file]
    pictures = {path.name for path in out.glob("*.png")}
    assert Counter(row.file for row in told) == dict.fromkeys(pictures, 1)
    for row in told:
        assert hashlib.sha256((out / str(row.file)).read_bytes()).hexdigest() == row.sha256


def kill_workers() -> int:
    """Kill the processes of this driver's workers, and tell how many there were."""
    killed = 0
    for process in psutil.Process().children(recursive=True):
        title = process.name() and "".join(process.cmdline())
        if title.startswith("ray::MapWorker(MapBatches(_Seat))"):  # and not reading's and drawing's in one
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
    return killed


@pytest.mark.usefixtures("cluster")
def test_a_fleet_goes_on_with_a_batch_past_what_fails_and_after_a_kill(
    requests_file: WriteRequests, tmp_path: Path
) -> None:
    path = requests_file({"prompt": "a raven", "count": 9}, "{", {"prompt": "a fox", "init": "gone.png"})
    out = tmp_path / "out"
    out.mkdir()
    for _, _ in zip(
        range(4), draw_orders(read_orders(path), out), strict=False
    ):  # a step and an outcome each
        pass
    by_batch = {each: each.stat().st_mtime_ns for each in out.glob("*.png")}
    assert by_batch
    states = Counter[str]()
    with closing(run(path, f"file://{out}", Crew(1, 1, tasks=3))) as outcomes:
        for outcome in outcomes:
            if not states:
                assert kill_workers() == 1
            states[outcome.state] += 1
    assert states["failed"] == 2
    assert states["drawn"] + states["there"] == 9
    assert states["there"] >= len(by_batch)
    assert {each: each.stat().st_mtime_ns for each in by_batch} == by_batch
    check(out)


def test_a_run_that_is_stopped_is_gone_on_with(
    requests_file: WriteRequests, tmp_path: Path, cluster: Any
) -> None:
    path, out = requests_file({"prompt": "a raven", "count": 8}), tmp_path / "out"
    with closing(run(path, str(out), Crew(1, 1, tasks=2))) as outcomes:
        next(outcomes)
    first = {each: each.stat().st_mtime_ns for each in out.glob("*.png")}
    assert len([*run(path, str(out), Crew(1, 1, tasks=2))]) == 8
    assert {each: each.stat().st_mtime_ns for each in first} == first
    assert len([*out.glob("*.png")]) == 8
    check(out)
    assert cluster.is_initialized()  # as it was joined before
