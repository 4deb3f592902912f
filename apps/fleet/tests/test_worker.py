"""Workers by themselves; Ray is not needed."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from inkpunk import Facts, Order, Picture, Pipeline, Request
from inkpunk.orders.batch import draw_orders
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.files import read_orders
from inkpunk.orders.folder import PNG_END
from inkpunk.orders.folder import Outcome as BatchOutcome
from inkpunk_fleet import Requests, StoreError, Task, Worker
from inkpunk_fleet.deaths import MOST, Deaths
from PIL import Image

WriteRequests = Callable[..., Path]


FACTS = Facts(
    prompt="", negative_prompt="", steps=1, sampler="euler", spacing="leading", guidance=1.0, seed=0,
    width=8, height=8, model="none", model_hash="0" * 10, version="0",
)  # fmt: skip


class Easel:
    """Pipelines whose pictures cost nothing; what they drew, and on which models."""

    def __init__(self) -> None:
        self.drawn, self.loaded = list[str](), list[str]()

    def load(self, choice: ModelChoice) -> Pipeline:
        if choice.model == "gone":
            raise ValueError("no such model")
        self.loaded.append(choice.model)
        return FreePipeline(self)


class FreePipeline(Pipeline):
    def __init__(self, easel: Easel) -> None:
        object.__setattr__(self, "easel", easel)

    def generate(self, request: Request) -> list[Picture]:
        if "broken" in request.prompt:
            raise ValueError("broken")
        self.easel.drawn.append(request.prompt)
        return [FreePicture(Image.new("RGB", (8, 8)), replace(FACTS, prompt=request.prompt))]


class FreePicture(Picture):
    def file(self, form: str = "png", quality: int | None = None) -> bytes:
        return self.facts.prompt.encode() + PNG_END


@pytest.fixture
def easel() -> Easel:
    return Easel()


@pytest.fixture
def worker(easel: Easel, tmp_path: Path) -> Worker:
    return Worker(str(tmp_path / "out"), name=tmp_path.name, load=easel.load)


def tasks(path: Path, out: str = "out") -> list[Task]:
    return [*Requests(str(path), str(path.parent / out)).tasks()]


def test_a_worker_draws_what_a_batch_draws_to_the_last_bit(
    requests_file: WriteRequests, tmp_path: Path
) -> None:
    path = requests_file({"prompt": "a raven"}, {"prompt": "a fox", "format": "webp", "quality": 70})
    (tmp_path / "batch").mkdir()
    batch = [
        each for each in draw_orders(read_orders(path), tmp_path / "batch") if isinstance(each, BatchOutcome)
    ]
    outcomes = [*Worker(str(tmp_path / "out")).meet(tasks(path))]
    assert [each.state for each in outcomes] == [each.state for each in batch] == ["drawn", "drawn"]
    for each in batch:
        assert each.path
        assert (tmp_path / "out" / each.path.name).read_bytes() == each.path.read_bytes()


def test_what_is_there_is_not_drawn_again_and_gets_the_row_that_it_lacks(
    requests_file: WriteRequests, worker: Worker, easel: Easel
) -> None:
    path = requests_file({"prompt": "a raven"})
    (drawn,), (again,) = worker.meet(tasks(path)), worker.meet(tasks(path))
    assert (drawn.state, again.state, easel.drawn) == ("drawn", "there", ["a raven"])
    assert drawn.row and again.row
    assert (again.row.sha256, again.row.file, again.row.seconds) == (drawn.row.sha256, drawn.row.file, None)
    (told,) = worker.meet([Task(**{**vars(tasks(path)[0]), "told": True})])
    assert (told.state, told.row) == ("there", None)


def test_one_that_fails_does_not_stop_the_rest(
    requests_file: WriteRequests, worker: Worker, easel: Easel
) -> None:
    path = requests_file(
        {"prompt": "broken"}, "{", {"prompt": "a raven", "model": "gone"}, {"prompt": "a fox", "model": "gone"},
        {"prompt": "an owl"},
    )  # fmt: skip
    outcomes = {each.line: each for each in worker.meet(tasks(path))}
    assert easel.drawn == ["an owl"]
    errors = {line: each.row.error for line, each in outcomes.items() if each.row and each.row.error}
    assert errors.pop(2).startswith("not JSON")
    assert errors == {1: "ValueError: broken", 3: "ValueError: no such model", 4: "ValueError: no such model"}


def test_one_model_is_loaded_at_a_time_and_the_loaded_one_goes_first(
    requests_file: WriteRequests, worker: Worker, easel: Easel
) -> None:
    mixed = [{"prompt": f"{i}", "model": ("one", "two")[i % 2]} for i in range(6)]
    all_tasks = tasks(requests_file(*mixed))
    [*worker.meet(all_tasks[:3])]
    [*worker.meet(all_tasks[3:])]
    assert easel.loaded in (["one", "two", "one"], ["two", "one", "two"])


def test_one_that_failed_before_is_left(requests_file: WriteRequests, worker: Worker, easel: Easel) -> None:
    (task,) = tasks(requests_file({"prompt": "a raven"}))
    (outcome,) = worker.meet([Task(**{**vars(task), "failed": True})])
    assert (outcome.state, outcome.row, easel.drawn) == ("failed before", None, [])


def test_a_full_disk_is_no_failure_of_an_order(
    requests_file: WriteRequests, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("inkpunk_fleet.store.write_atomically", full)
    (outcome,) = worker.meet(tasks(requests_file({"prompt": "a raven"})))
    assert (outcome.state, outcome.row) == ("stuck", None)
    assert "No space left" in outcome.error


def test_an_order_that_kills_its_workers_is_given_up(
    requests_file: WriteRequests, easel: Easel, tmp_path: Path
) -> None:
    deadly, harmless = tasks(requests_file({"prompt": "a raven"}, {"prompt": "a fox"}))
    for _ in range(MOST):
        Deaths(tmp_path.name).drawing(deadly.key)  # and there it dies
    worker = Worker(str(tmp_path / "out"), name=tmp_path.name, load=easel.load)
    outcomes = [*worker.meet([deadly, harmless])]
    assert [each.state for each in outcomes] == ["failed", "drawn"]
    assert f"ended {MOST} processes" in outcomes[0].error


def test_an_object_store_is_filled_as_a_folder_is(requests_file: WriteRequests, easel: Easel) -> None:
    path = requests_file({"prompt": "a raven"})
    (task,) = Requests(str(path), "memory://fleet").tasks()
    worker = Worker("memory://fleet", load=easel.load)
    assert [each.state for each in (*worker.meet([task]), *worker.meet([task]))] == ["drawn", "there"]
    assert fsspec.filesystem("memory").cat(f"/fleet/{task.file}") == b"a raven" + PNG_END


def test_a_key_is_the_orders(requests_file: WriteRequests) -> None:
    (task,) = tasks(requests_file({"prompt": "a raven", "seed": 3}))
    assert task.values
    assert task.key == Order.read(task.values).key


def test_a_store_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Worker("nosuch://x")
