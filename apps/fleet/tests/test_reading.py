from collections.abc import Callable
from pathlib import Path

from inkpunk.orders.files import read_orders
from inkpunk.orders.manifest import NAME, Row
from inkpunk.orders.naming import file_name
from inkpunk_fleet import Requests, Store, Task
from inkpunk_fleet.reading import laid_together
from inkpunk_fleet.rows import parts, write_part

WriteRequests = Callable[..., Path]


def test_a_task_has_the_name_that_a_batch_gives(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file({"prompt": "a raven", "count": 2}, {"prompt": ["a fox", "an owl"], "seed": 3})
    expected = [file_name(entry.order) for entry in read_orders(path) if entry.order]
    assert [task.file for task in Requests(str(path), str(tmp_path)).tasks()] == expected
    assert len(expected) == 4


def test_an_order_that_comes_twice_is_one_task(requests_file: WriteRequests, tmp_path: Path) -> None:
    fox = {"prompt": "a fox", "seed": 3}
    tasks = [*Requests(str(requests_file(fox, {"prompt": "an owl"}, fox)), str(tmp_path)).tasks()]
    assert [task.line for task in tasks] == [1, 2]


def test_what_is_wrong_with_a_line_is_a_task_too(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file('{"promt": "a fox"}', {"prompt": "a fox", "control": ["gone"]}, {"prompt": "an owl"})
    first, second, third = Requests(str(path), str(tmp_path)).tasks()
    assert first.file is None
    assert "did you mean prompt?" in first.error
    assert second.file is None
    assert second.error
    assert third.file
    assert not third.error


def test_tasks_are_the_same_however_often_they_are_read(requests_file: WriteRequests, tmp_path: Path) -> None:
    requests = Requests(str(requests_file({"prompt": "a raven"}, {"prompt": "a raven"}, "no")), str(tmp_path))
    assert [*requests.tasks()] == [*requests.tasks()]
    assert len({task.key for task in requests.tasks()}) == 3


def test_a_task_travels_as_a_line(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file({"prompt": "ein Rabe, 渡鴉 \ud83d\ude00", "lora": ["a.safetensors:0.5"]}, "{")
    for task in Requests(str(path), str(tmp_path)).tasks():
        assert "\n" not in task.to_json()
        assert Task.from_json(task.to_json()).to_json() == task.to_json()


def test_what_rows_tell_goes_along(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file(*({"prompt": f"a raven {i}"} for i in range(4)), "no")
    done, failed, _, failed_in_batch, bad = Requests(str(path), str(tmp_path)).tasks()
    store = Store(str(tmp_path / "out"))
    write_part(
        store, [Row(done.key, file=done.file), Row(failed.key, error="broke"), Row(bad.key, error="bad")]
    )
    (tmp_path / "out" / NAME).write_text(Row(failed_in_batch.key, error="broke").to_json() + "\n{torn")

    def told(retry: bool) -> list[tuple[bool, bool]]:
        requests = Requests(str(path), store.url, tuple(parts(store)), retry_failed=retry)
        return [(task.told, task.failed) for task in requests.tasks()]

    assert told(retry=False) == [(True, False), (False, True), (False, False), (False, True), (True, True)]
    assert told(retry=True) == [(True, False), (False, False), (False, False), (False, False), (True, False)]


def test_a_failure_that_was_done_since_is_none(requests_file: WriteRequests, tmp_path: Path) -> None:
    path = requests_file({"prompt": "a raven"})
    (task,) = Requests(str(path), str(tmp_path)).tasks()
    store = Store(str(tmp_path / "out"))
    write_part(store, [Row(task.key, error="broke")])
    write_part(store, [Row(task.key, file=task.file)])
    (task,) = Requests(str(path), store.url, tuple(parts(store))).tasks()
    assert (task.told, task.failed) == (True, False)


def test_tasks_of_one_model_are_laid_together(requests_file: WriteRequests, tmp_path: Path) -> None:
    mixed = [{"prompt": f"{i}", "model": ("one", "two")[i % 2]} for i in range(10)]
    tasks = [*Requests(str(requests_file(*mixed)), str(tmp_path)).tasks()]
    laid = [[task.line for task in each] for each in laid_together(tasks, 3)]
    assert laid == [[1, 3, 5], [2, 4, 6], [7, 9], [8, 10]]
