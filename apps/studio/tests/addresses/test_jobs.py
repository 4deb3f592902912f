"""Our own addresses: a job is asked for, watched, moved, cancelled, and its pictures are fetched."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from inkpunk_studio.http.events import with_beats
from PIL import Image

SMALL = {"prompt": "nvinkpunk raven", "width": 64, "height": 64, "steps": 2}
LONG = {"prompt": "nvinkpunk raven", "width": 512, "height": 512, "steps": 150}


@pytest.fixture(autouse=True)
def nothing_left(http: httpx.Client) -> Iterator[None]:
    yield
    for job in http.get("/jobs").json():
        http.post(f"/jobs/{job['id']}/cancel")


def asked(http: httpx.Client, *orders: dict[str, Any], **told: Any) -> dict[str, Any]:
    answer = http.post("/jobs", json={"orders": [*orders], **told})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/jobs/{answer.json()['id']}")
    return answer.json()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def told(http: httpx.Client, id: str) -> dict[str, Any]:
    return http.get(f"/jobs/{id}").json()


def events(http: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    with http.stream("GET", path) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_job_is_told_of_until_it_is_over_and_its_pictures_are_fetched(http: httpx.Client) -> None:
    job = asked(http, SMALL | {"seed": 5}, SMALL | {"seed": 9, "format": "webp"}, count=2)
    seen = [*events(http, f"/jobs/{job['id']}/events")]
    last = seen[-1]
    assert [each["state"] for each in seen].count("done") == 1
    assert (last["state"], last["progress"]["share"], last["client"]) == ("done", 1.0, "jobs")
    assert [each["seed"] for each in last["drawn"]] == [5, 6, 9, 10]
    shares = [each["progress"]["share"] for each in seen]
    assert shares == sorted(shares)
    for place, each in enumerate(last["drawn"]):
        got = http.get(each["url"])
        assert got.headers["content-type"] == ("image/png", "image/webp")[place // 2]
        assert Image.open(BytesIO(got.content)).size == (64, 64)
    assert http.get(f"/jobs/{job['id']}/pictures/4").status_code == 404


def test_a_misspelt_option_is_named(http: httpx.Client) -> None:
    job = asked(http, SMALL | {"negative_prompt": "grey", "sampelr": "euler", "zzz": 1})
    assert [each.partition(":")[0] for each in job["warnings"]] == ["sampelr"]


def test_jobs_wait_in_a_queue_and_are_moved_and_cancelled(http: httpx.Client) -> None:
    first = asked(http, LONG)["id"]
    until(lambda: told(http, first)["state"] == "drawing")
    second, third = asked(http, SMALL), asked(http, SMALL)
    assert (second["place"], third["place"]) == (0, 1)
    assert http.post(f"/jobs/{third['id']}/move", json={"place": 0}).json()["place"] == 0
    listed = [each["id"] for each in http.get("/jobs").json()]
    assert listed[:3] == [third["id"], second["id"], first]
    assert http.post(f"/jobs/{second['id']}/cancel").json()["state"] == "cancelled"
    http.post(f"/jobs/{first}/cancel")
    until(lambda: told(http, first)["state"] == "cancelled" and told(http, third["id"])["state"] == "done")


def test_a_picture_that_is_drawn_is_previewed_and_skipped(http: httpx.Client) -> None:
    id = asked(http, LONG | {"steps": 40}, SMALL)["id"]
    until(lambda: told(http, id)["progress"]["step"] > 0)
    shown = http.get(f"/jobs/{id}/preview")
    assert shown.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(shown.content)).mode == "RGB"
    http.post(f"/jobs/{id}/skip")
    until(lambda: told(http, id)["state"] == "done")
    assert [each["order"] for each in told(http, id)["drawn"]] == [1]
    assert http.get(f"/jobs/{id}/preview").status_code == 204


def test_all_jobs_are_told_of_at_one_address(http: httpx.Client) -> None:
    job = list[str]()
    asking = threading.Timer(0.3, lambda: job.append(asked(http, SMALL)["id"]))
    with httpx.Client(base_url=http.base_url, timeout=30, trust_env=False) as watching:
        asking.start()
        for each in events(watching, "/jobs/events"):
            if job and each["id"] == job[0] and each["state"] == "done":
                break
    asking.join()


def test_a_job_goes_on_when_its_watcher_leaves(http: httpx.Client, studio: Any) -> None:
    id = asked(http, SMALL, count=3)["id"]
    with httpx.Client(base_url=http.base_url, timeout=30, trust_env=False) as watching:
        assert next(events(watching, f"/jobs/{id}/events"))["id"] == id
    assert studio.desk.wait(id, 30.0).state == "done"


@pytest.mark.parametrize("path", ["", "/events", "/preview", "/pictures/0"])
def test_a_job_that_is_none_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.get(f"/jobs/0123{path}").status_code == 404


def test_addresses_are_described(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/jobs", "/jobs/{id}", "/jobs/{id}/events", "/jobs/{id}/move", "/v1/images/edits"} <= {*paths}
    for path, methods in paths.items():
        for what in methods.values():
            assert what.get("description") or not path.startswith(("/v1", "/jobs")), path


@pytest.mark.parametrize(
    ("path", "statuses", "fields"),
    [
        ("/jobs", {"400", "404", "413", "429"}, {"error", "detail"}),
        ("/v1/images/generations", {"400", "404", "410", "413", "422", "429", "503"}, {"error", "detail"}),
        (
            "/sdapi/v1/txt2img",
            {"404", "410", "413", "422", "429", "503"},
            {"error", "detail", "body", "errors"},
        ),
    ],
)
def test_the_form_of_refusals_is_described(
    http: httpx.Client, path: str, statuses: set[str], fields: set[str]
) -> None:
    description = http.get("/openapi.json").json()
    responses = description["paths"][path]["post"]["responses"]
    assert statuses <= {*responses}
    for status in statuses:
        form = responses[status]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert {*description["components"]["schemas"][form]["properties"]} == fields


def test_a_stream_that_has_nothing_to_tell_says_that_it_is_there() -> None:
    import asyncio
    from collections.abc import AsyncGenerator

    async def slow() -> AsyncGenerator[str]:
        await asyncio.sleep(0.2)
        yield "told"

    async def collected() -> list[str]:
        return [each async for each in with_beats(slow(), 0.05)]

    heard = asyncio.run(collected())
    assert heard[-1] == "told"
    assert all(each.startswith(": ") and each.endswith("\n\n") for each in heard[:-1])
    assert len(heard) > 1
