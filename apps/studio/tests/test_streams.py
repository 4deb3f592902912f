"""A page hears of every event that it asks for, also of one asked for as its stream is being closed."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from threading import Thread

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from inkpunk_studio.page import streams
from inkpunk_studio.page.streams import Streams
from starlette.routing import Mount

pytestmark = [  # what Gradio asks of pandas
    pytest.mark.filterwarnings(f"ignore:{text}:Warning")
    for text in ("The copy keyword is deprecated", "'future.no_silent_downcasting'")
]
PATIENCE = 30.0
ADDRESSES = "/gradio_api/queue"
PAGE = "a page"


@pytest.fixture(scope="module")
def page() -> Iterator[httpx.Client]:
    """A page of Gradio's of one event, which says again what it is told."""
    with gr.Blocks() as blocks:
        told = gr.Textbox()
        told.submit(lambda text: text, told, told)
    app = gr.mount_gradio_app(FastAPI(), blocks, "/", ssr_mode=False)  # pyright: ignore[reportUnknownMemberType]
    mounted = app.router.routes[-1]
    assert isinstance(mounted, Mount)
    mounted.app = Streams(mounted.app)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=PATIENCE) as client:
            yield client
        server.should_exit = True
        thread.join(PATIENCE)


def ask(page: httpx.Client, text: str, session: str = PAGE) -> httpx.Response:
    asked = {"fn_index": 0, "data": [text], "session_hash": session}
    return page.post(f"{ADDRESSES}/join", json=asked).raise_for_status()


def heard(stream: httpx.Response) -> Iterator[dict[str, object]]:
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def hear(page: httpx.Client, session: str = PAGE) -> list[object]:
    """What a page's stream says of its events, until it is closed."""
    said = list[object]()
    with page.stream("GET", f"{ADDRESSES}/data", params={"session_hash": session}) as stream:
        for message in heard(stream):
            if message["msg"] == "process_completed":
                said.append(message["output"]["data"][0])  # pyright: ignore
            if message["msg"] == "close_stream":
                break
    return said


def test_an_event_is_answered_when_the_page_has_left_a_stream_that_was_closed(page: httpx.Client) -> None:
    ask(page, "first")
    with ThreadPoolExecutor() as pool:
        with page.stream("GET", f"{ADDRESSES}/data", params={"session_hash": PAGE}) as stream:
            messages = heard(stream)  # held: who lets go of it leaves the stream
            while next(messages)["msg"] != "close_stream":
                pass
            later = pool.submit(ask, page, "second")
            with pytest.raises(NotYetError):
                later.result(0.3)
            assert ask(page, "elsewhere", "another page").is_success  # which waits for nobody
            nested = page.post(f"{ADDRESSES}/join", content=b"[" * 100_000)
            assert 400 <= nested.status_code < 500
        assert later.result(PATIENCE).is_success
    assert hear(page) == ["second"]
    assert hear(page, "another page") == ["elsewhere"]


def test_one_whose_page_does_not_leave_waits_no_longer_than_its_patience(
    page: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    ask(page, "first")
    with page.stream("GET", f"{ADDRESSES}/data", params={"session_hash": PAGE}) as stream:
        assert [message["msg"] for message in heard(stream)][-1] == "close_stream"  # and then it ends
        ask(page, "second")
    assert hear(page) == ["second"]


def test_what_is_no_event_is_refused_as_it_was(page: httpx.Client) -> None:
    assert page.post(f"{ADDRESSES}/join", content=b"no JSON").status_code == 422
