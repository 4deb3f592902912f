"""The page in a real browser: Debian's chromium, or any other that is there, against a running studio.

The root's run leaves these out, as a browser takes minutes; in `apps/studio`, `uv run --group browser pytest
tests/test_in_a_browser.py` has them. With `INKPUNK_PICTURES_OF_THE_PAGE=1` the README's pictures are made anew.
"""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
import uvicorn
from inkpunk_studio.app import create_app
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from PIL import Image, ImageChops

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: uv sync --group browser")
axe = pytest.importorskip("axe_core_python.sync_playwright", reason="no axe: uv sync --group browser")

CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    ),
    None,
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:Warning"),
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting':Warning"),  # what Gradio asks of pandas
]

PATIENCE = 120_000  # milliseconds: a machine that does other things beside
WIDE, PHONE = (1280, 860), (390, 844)
RAVEN = "nvinkpunk raven, neon green splash"
LONG = {
    "steps": "150",
    "pictures": "6",
}  # some ten seconds even on a fast machine: there is a middle to stop in
README = Path(__file__).parents[1] / "pictures"
SERIOUS = ("serious", "critical")


@dataclass
class Studio:
    """A running one."""

    desk: Desk
    settings: Settings
    url: str


@dataclass
class Visit:
    """A page that is open, and what it complained of and asked for."""

    page: "sync_api.Page"
    studio: Studio
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self) -> "Visit":
        self.page.goto(self.studio.url)
        self.page.wait_for_selector("#prompt textarea")
        self.page.wait_for_selector("#draw-stage .stage")
        return self

    def reload(self) -> None:
        """Leave the page, and open it again."""
        assert not self.complaints
        self.page.reload()
        self.page.wait_for_selector("#prompt textarea")
        self.complaints.clear()  # a page that is left complains of what it had begun to hear

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).and_(self.page.locator(":visible")).fill(text)

    def type_no_more(self) -> None:
        """Have nothing drawn while one types."""
        self.page.get_by_label("Draw while I type").uncheck()

    def ask_for_long(self) -> None:
        self.type_no_more()
        self.page.fill("#prompt textarea", RAVEN)
        self.fill("Steps", LONG["steps"])
        self.fill("Pictures", LONG["pictures"])
        self.page.click("#draw-now")
        self.page.wait_for_selector("#draw-stage img.preview", timeout=PATIENCE)

    def drawn(self, stage: str = "draw", state: str = "done") -> None:
        self.page.wait_for_selector(f"#{stage}-stage .stage[data-state={state}] .drawn img", timeout=PATIENCE)

    def file(self, stage: str = "draw") -> Path:
        """That of the last picture on a stage."""
        name = self.page.locator(f"#{stage}-stage .drawn a[download]").last.get_attribute("download")
        assert name is not None
        return self.studio.settings.pictures / name


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    settings = Settings(pictures=folder / "pictures", state=folder / "state")
    desk = Desk(settings)
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        with desk:
            server = uvicorn.Server(uvicorn.Config(create_app(settings, desk), log_level="error"))
            thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            while not (server.started and desk.is_ready):
                time.sleep(0.02)
            yield Studio(desk, settings, f"http://127.0.0.1:{listening.getsockname()[1]}")
            server.should_exit = True
            thread.join(20)


@pytest.fixture(scope="module")
def browser() -> "Iterator[sync_api.Browser]":
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[WIDE, PHONE], ids=["1280", "390"])
def visit(request: pytest.FixtureRequest, browser: "sync_api.Browser", studio: Studio) -> Iterator[Visit]:
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark")
    page = context.new_page()
    visit = Visit(page, studio)
    page.on("console", lambda told: visit.complaints.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("request", lambda asked: visit.hosts.add(urlsplit(asked.url).netloc))
    yield visit.open()
    context.close()
    for job in studio.desk.jobs():
        studio.desk.cancel(job.id)
    assert not visit.complaints
    assert visit.hosts - {""} == {urlsplit(studio.url).netloc}  # "": pictures within the page


def opened(path: Path) -> Image.Image:
    """A picture, read whole."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def test_a_prompt_becomes_a_picture_by_ctrl_enter_alone(visit: Visit) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", RAVEN)
    visit.page.press("#prompt textarea", "Control+Enter")
    visit.drawn()
    assert visit.page.get_by_alt_text(RAVEN).is_visible()
    assert opened(visit.file()).info["parameters"].startswith(RAVEN)


def test_it_draws_while_one_types_and_keeps_but_the_last(visit: Visit) -> None:
    before = {*visit.studio.settings.pictures.glob("*.png")}
    visit.page.locator("#prompt textarea").press_sequentially("nvinkpunk owl, neon blue", delay=40)
    visit.page.wait_for_selector("#draw-stage img[alt='nvinkpunk owl, neon blue']", timeout=PATIENCE)
    visit.page.locator("#prompt textarea").press_sequentially(" splash", delay=40)
    visit.page.wait_for_selector("#draw-stage img[alt='nvinkpunk owl, neon blue splash']", timeout=PATIENCE)
    assert {*visit.studio.settings.pictures.glob("*.png")} - before == {visit.file()}


def test_the_prompt_is_told_as_it_is_read(visit: Visit) -> None:
    visit.page.fill("#prompt textarea", "a (raven:1.3) at dusk")
    told = visit.page.locator(".reading-box summary").first
    sync_api.expect(told).to_have_text("4 of 75 tokens")
    told.click()
    sync_api.expect(visit.page.locator(".reading .more").first).to_have_text("raven1.3")


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_stop_stops_within_a_step(visit: Visit, way: str) -> None:
    visit.ask_for_long()
    if way == "button":
        visit.page.click("#draw-stop")
    else:
        visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector(
        "#draw-stage .stage[data-state=cancelled], #draw-stage .empty .note", timeout=10_000
    )
    newest = next(job for job in visit.studio.desk.jobs() if job.client == "page")
    assert newest.state == "cancelled"
    assert len(newest.drawn) < int(LONG["pictures"])


def test_a_page_that_is_opened_again_goes_on_where_it_was(visit: Visit) -> None:
    visit.ask_for_long()
    [job] = [job for job in visit.studio.desk.jobs() if job.state == "drawing"]
    visit.reload()
    visit.page.wait_for_selector("#draw-stage img.preview", timeout=PATIENCE)
    assert visit.page.input_value("#prompt textarea") == RAVEN
    assert visit.studio.desk.job(job.id).state == "drawing"
    visit.page.click("#draw-stop")  # it knows which one it shows
    assert visit.studio.desk.wait(job.id, 20).state == "cancelled"


def test_a_seed_that_is_kept_draws_the_same_picture_again(visit: Visit) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", RAVEN)
    visit.page.click("#draw-now")
    visit.drawn()
    first = visit.file()
    visit.page.click("#again")
    sync_api.expect(visit.page.locator("#seed textarea, #seed input").first).not_to_have_value("")
    visit.page.click("#draw-now")
    visit.page.wait_for_function(
        "before => document.querySelector('#draw-stage .drawn a[download]')?.download !== before && "
        "document.querySelector('#draw-stage .stage').dataset.state === 'done'",
        arg=first.name,
        timeout=PATIENCE,
    )
    assert visit.file() != first
    assert opened(visit.file()).tobytes() == opened(first).tobytes()


def test_a_recipe_from_the_gallery_is_drawn_again(visit: Visit) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", RAVEN)
    visit.fill("Steps", "9")
    visit.page.click("#draw-now")
    visit.drawn()
    first = visit.file()
    visit.page.fill("#prompt textarea", "something else")
    visit.fill("Steps", "")
    visit.tab("Gallery")
    visit.page.locator("#gallery button img").first.click(timeout=PATIENCE)
    visit.page.click("#reuse")
    visit.page.wait_for_selector("#draw-now", timeout=PATIENCE)
    assert visit.page.input_value("#prompt textarea") == RAVEN
    visit.page.click("#draw-now")
    visit.page.wait_for_function(
        "before => document.querySelector('#draw-stage .drawn a[download]')?.download !== before && "
        "document.querySelector('#draw-stage .stage').dataset.state === 'done'",
        arg=first.name,
        timeout=PATIENCE,
    )
    assert opened(visit.file()).tobytes() == opened(first).tobytes()


def test_what_is_painted_over_is_drawn_anew_and_nothing_else(visit: Visit, tmp_path: Path) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", RAVEN)
    visit.page.click("#draw-now")
    visit.drawn()
    before = opened(visit.file()).convert("RGB")
    visit.page.click("#to-edit")
    canvas = visit.page.locator("#editor canvas").first
    canvas.wait_for(timeout=PATIENCE)
    visit.page.wait_for_timeout(1500)  # the editor fits the picture in
    box = canvas.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(middle[0] - 20, middle[1])
    visit.page.mouse.down()
    visit.page.mouse.move(*middle, steps=6)
    visit.page.mouse.up()
    visit.page.wait_for_timeout(800)
    assert visit.page.input_value("#edit-prompt textarea") == RAVEN
    visit.page.click("#edit-now")
    visit.drawn("edit")
    after = opened(visit.file("edit")).convert("RGB")
    changed = ImageChops.difference(before, after).getbbox()
    assert after.size == before.size
    assert changed is not None
    left, top, right, bottom = changed
    assert (right - left) * (bottom - top) < before.width * before.height / 2


def test_a_job_that_waits_can_be_cancelled_in_the_queue(visit: Visit) -> None:
    visit.ask_for_long()
    visit.page.fill("#prompt textarea", "a fox that waits")
    visit.page.click("#draw-now")
    visit.tab("Queue")
    waits = visit.page.locator(".job.waiting")
    waits.get_by_role("button", name="Cancel").click(timeout=PATIENCE)
    sync_api.expect(waits).to_have_count(0)
    sync_api.expect(visit.page.locator(".job.drawing")).to_have_count(1)
    [drawn] = [job for job in visit.studio.desk.jobs() if not job.is_over]
    assert drawn.orders[0].values["prompt"] == RAVEN


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_no_serious_fault(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    visit.reload()
    visit.page.wait_for_timeout(500)
    for tab in visit.page.get_by_role("tab").all():
        if not tab.is_visible():
            continue
        name = tab.inner_text()
        tab.click()
        visit.page.wait_for_timeout(400)
        found = axe.Axe().run(visit.page)["violations"]
        serious = [
            f"{name}: {each['id']}: {node['html'][:160]}"
            for each in found
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]
        assert not serious, "\n".join(serious)


def test_nothing_juts_out_on_a_phone(visit: Visit) -> None:
    for tab in visit.page.get_by_role("tab").all():
        if tab.is_visible():
            tab.click()
            visit.page.wait_for_timeout(300)
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.skipif(
    "INKPUNK_PICTURES_OF_THE_PAGE" not in os.environ, reason="only to make the README's pictures"
)
def test_pictures_for_the_readme(browser: "sync_api.Browser", studio: Studio) -> None:
    README.mkdir(exist_ok=True)
    for name, (width, height), scheme in (
        ("draw", WIDE, "dark"),
        ("phone", PHONE, "dark"),
        ("light", WIDE, "light"),
    ):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        visit = Visit(context.new_page(), studio).open()
        visit.type_no_more()
        visit.page.fill("#prompt textarea", RAVEN)
        visit.fill("Seed", "7")
        visit.page.click("#draw-now")
        visit.drawn()
        visit.page.wait_for_timeout(600)
        visit.page.evaluate("scrollTo(0, 0)")
        visit.page.wait_for_timeout(300)
        path = README / f"{name}.png"
        visit.page.screenshot(path=path)
        opened(path).convert("RGB").quantize(256).save(path, optimize=True)
        context.close()
