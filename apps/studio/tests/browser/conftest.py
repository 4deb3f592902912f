"""A running studio, and a browser that visits it: Debian's chromium, or any other that is there.

The studio's other tests leave these out, as a browser is not everywhere: `uv run --group browser pytest
apps/studio/tests/browser` has them. With `INKPUNK_PICTURES_OF_THE_PAGE=1` the README's pictures are made anew.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest
import torch
import uvicorn
from inkpunk.orders.choice import ModelChoice
from inkpunk_sketch import adapters, controls, weights
from inkpunk_studio.app import create_app
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from safetensors.torch import save_file
from visiting import PATIENCE, WIDE, Hub, Studio, Visit, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have nothing of this fail for what Gradio asks of pandas."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for ignored in ("The copy keyword is deprecated", "'future.no_silent_downcasting'"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{ignored}:Warning"))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    models, loras = folder / "models", folder / "loras"
    models.mkdir()
    loras.mkdir()
    shutil.copyfile(weights(), models / "dream.safetensors")
    (models / "broken.safetensors").write_bytes(weights().read_bytes()[:5000])
    shutil.copyfile(controls()["canny"], models / "contours_canny.safetensors")
    save_file({"emb_params": torch.full((2, 64), 0.01)}, models / "glimmer.safetensors")
    shutil.copyfile(adapters()["lighthouse"], loras / "lighthouse.safetensors")
    settings = Settings(
        pictures=folder / "pictures",
        state=folder / "state",
        models=(models,),
        choice=ModelChoice(lora_folder=loras),
        hub=None,
    )
    hub = Hub(folder / "cache")
    patch = pytest.MonkeyPatch()
    patch.setattr("inkpunk_studio.page.weights.fetch", hub.fetch)
    patch.setattr("inkpunk_studio.page.weights._cache", lambda: hub.cache)
    desk = Desk(settings)
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        with desk:
            server = uvicorn.Server(uvicorn.Config(create_app(settings, desk), log_level="error"))
            thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            until(lambda: server.started and desk.is_ready)
            yield Studio(desk, settings, f"http://127.0.0.1:{listening.getsockname()[1]}", hub)
            server.should_exit = True
            thread.join(20)
    patch.undo()


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: uv sync --group browser")
    if CHROMIUM is None:
        without = pytest.fail if "CI" in os.environ else pytest.skip  # there it is not to be passed over
        without("no chromium is installed: apt-get install chromium")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=[WIDE], ids=["1280"])
def visit(request: pytest.FixtureRequest, browser: "Browser", studio: Studio) -> Iterator[Visit]:
    """A visit to the page: of a wide window, or `at_both_widths`."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark")
    visit = Visit(context, studio)
    yield visit.open()
    context.close()
    for job in studio.desk.jobs():
        studio.desk.cancel(job.id)
    until(lambda: all(job.is_over for job in studio.desk.jobs()))
    visit.assert_content()
