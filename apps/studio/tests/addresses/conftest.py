"""A studio that listens, with the model in the box."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Thread

import httpx
import pytest
import uvicorn
from inkpunk_studio.app import create_app
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk


@dataclass(frozen=True)
class Studio:
    """One that runs.

    Attributes:
        url: without a slash at its end.
        desk: of it.
        settings: of it.
    """

    url: str
    desk: Desk
    settings: Settings


@contextmanager
def running(settings: Settings) -> Iterator[Studio]:
    desk = Desk(settings)
    app = create_app(settings, desk, page=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=5))
    thread = Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Studio(f"http://127.0.0.1:{port}", desk, settings)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def run_studio() -> Callable[..., AbstractContextManager[Studio]]:
    """Runs another one, of these settings."""
    return lambda **told: running(Settings(**told))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    root = tmp_path_factory.mktemp("studio")
    with running(Settings(pictures=root / "pictures", state=root / "state", most_waiting=8)) as studio:
        yield studio


@pytest.fixture
def http(studio: Studio) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=studio.url, timeout=60, trust_env=False) as client:
        yield client
