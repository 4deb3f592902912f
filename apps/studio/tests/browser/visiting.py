"""What a visitor of the page does: opens tabs, fills fields, waits for pictures."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

PATIENCE = 120_000  # milliseconds: a machine that does other things beside
WIDE, PHONE = (1280, 860), (390, 844)
BOTH = pytest.mark.parametrize("visit", [WIDE, PHONE], indirect=True, ids=["1280", "390"])
RAVEN = "nvinkpunk raven, neon green splash"
LONG = {"Steps": "150", "Pictures": "6"}  # ten seconds even on a fast machine: there is a middle to stop in
QUICK = {"Steps": "4", "Width": "256", "Height": "256"}


def until(holds: Callable[[], object], seconds: float = PATIENCE / 1000) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.05)


def opened(path: Path) -> Image.Image:
    """A picture, read whole."""
    with Image.open(path) as picture:
        picture.load()
        return picture


@dataclass
class Hub:
    """What stands for Hugging Face's: a download that waits until it may end."""

    cache: Path
    may_end: Event = field(default_factory=Event)

    def fetch(self, repo: str, file: str | None = None, **told: object) -> Path:
        folder = self.cache / f"models--{repo.replace('/', '--')}"
        (folder / "blobs").mkdir(parents=True)
        part = folder / "blobs" / "1.inkpunk-partial"
        part.write_bytes(b"\0" * 3_000_000)
        assert self.may_end.wait(PATIENCE / 1000)
        return part.rename(folder / "neon.safetensors")


@dataclass
class Studio:
    """A running one."""

    desk: Desk
    settings: Settings
    url: str
    hub: Hub

    def newest(self, client: str = "page") -> Job:
        return max((job for job in self.desk.jobs() if job.client == client), key=lambda job: job.made)


@dataclass
class Visit:
    """A page that is open, and what it complained of and asked for."""

    context: "BrowserContext"
    studio: Studio
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def open(self) -> "Visit":
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self.hosts.add(urlsplit(asked.url).netloc))
        self.page.on("websocket", lambda asked: self.hosts.add(urlsplit(asked.url).netloc))
        self.page.goto(self.studio.url)
        self._wait()
        return self

    def _heard(self, told: object) -> None:
        if told.type == "error":  # pyright: ignore
            self.complaints.append(told.text)  # pyright: ignore

    def _wait(self) -> None:
        self.page.wait_for_selector("#prompt textarea")
        self.page.wait_for_selector("#draw-stage .stage")

    def reload(self) -> None:
        """Leave the page, and open it again."""
        assert not self.complaints
        self.page.reload()
        self._wait()
        self.complaints.clear()  # a page that is left complains of what it had begun to hear

    def reopen(self) -> None:
        """Close the page, and open it again."""
        assert not self.complaints
        self.page.close()
        self.open()

    def tab(self, name: str) -> None:
        """Open a tab; on a narrow page some are in a menu."""
        tab = self.page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():
            self.page.locator(".overflow-menu > button").click()
            tab = self.page.locator(".overflow-dropdown button", has_text=name)
        tab.click()

    def labelled(self, label: str) -> "Locator":
        return self.page.get_by_label(label, exact=True).and_(self.page.locator(":visible"))

    def fill(self, **values: str) -> None:
        """Fill fields by their labels."""
        for label, text in values.items():
            self.labelled(label).fill(text)

    def unfold(self, title: str) -> None:
        """Open an accordion."""
        self.page.locator("button.label-wrap:visible:not(.open)").filter(has_text=title).click()

    def unfold_all(self) -> None:
        """Open all accordions that are seen."""
        folded = self.page.locator("button.label-wrap:visible:not(.open)")
        while folded.count():
            folded.first.click()

    def type_no_more(self) -> None:
        """Have nothing drawn while one types."""
        self.page.get_by_label("Draw while I type").uncheck()

    def ask_for(self, prompt: str = RAVEN, **values: str) -> None:
        """Fill Draw, and have it drawn."""
        self.type_no_more()
        self.page.fill("#prompt textarea", prompt)
        self.fill(**values)
        self.page.click("#draw-now")

    def ask_for_long(self) -> Job:
        before = {job.id for job in self.studio.desk.jobs()}
        self.ask_for(RAVEN, **LONG)
        until(lambda: any(job.state == "drawing" and job.id not in before for job in self.studio.desk.jobs()))
        self.page.wait_for_selector("#draw-stage img.preview")
        return next(job for job in self.studio.desk.jobs() if job.state == "drawing")

    def drawn(self, stage: str = "draw", *, but: Path | None = None) -> Path:
        """Wait for a picture on a stage, another one than before, and give the last one's file."""
        self.page.wait_for_function(
            """([stage, before]) => {
                const all = document.querySelectorAll(`#${stage}-stage .stage[data-state=done] a[download]`);
                const image = document.querySelector(`#${stage}-stage .drawn img`);
                return all.length && all[all.length - 1].download !== before && image.complete;
            }""",
            arg=[stage, but.name if but else None],
        )
        name = self.page.locator(f"#{stage}-stage .drawn a[download]").last.get_attribute("download")
        assert name is not None
        return self.studio.settings.pictures / name

    def choose(self, box: str, name: str) -> None:
        """Choose from a list."""
        self.page.locator(f"{box} input").click()
        self.page.locator(f'[role=option][aria-label="{name}"]').click()

    def look_at(self, words: str) -> None:
        """Search the gallery, and open the newest picture that is found."""
        self.tab("Gallery")
        self.page.fill("#search textarea, #search input", words)
        self.page.press("#search textarea, #search input", "Enter")
        newest = max(self.studio.settings.pictures.glob(f"*{words}*"), key=lambda path: path.stat().st_mtime)
        self.open_picture(newest)

    def open_picture(self, path: Path) -> None:
        """Open a picture of the gallery."""
        self.page.locator(f"#gallery button:has(img[alt='{path.stem}'])").click()
        self.page.locator("#opened dd", has_text=path.name).wait_for()

    def paint_ready(self) -> None:
        """Wait until the editor has its picture, and has fitted it in: its canvas moves no more."""
        canvas, before = self.page.locator("#editor canvas").first, None
        self.page.locator("#editor button[aria-label=Undo]:not([disabled])").wait_for()
        while True:
            box = canvas.bounding_box()
            if box is not None and box == before:
                return
            before = box
            self.page.wait_for_timeout(400)

    def drop(self, path: Path) -> None:
        """Drop a picture into the editor, once it is there: what comes before it has begun is lost on it."""
        self.page.locator("#editor canvas").first.wait_for()
        self.page.set_input_files("#editor input[type=file]", path)
        self.paint_ready()

    def go_on(self) -> None:
        """Edit the result, once the editor has fetched it."""
        with self.page.expect_response("**/file=**"):
            self.page.click("#go-on")
        self.paint_ready()

    def paint(self) -> None:
        """Paint over some of the editor's middle."""
        self.paint_ready()
        box = self.page.locator("#editor canvas").first.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x - 20, y)
        self.page.mouse.down()
        self.page.mouse.move(x, y, steps=6)
        self.page.mouse.up()
        self.page.locator("#editor button[aria-label=Undo]:not([disabled])").wait_for()

    def waits_in_the_queue(self, prompt: str) -> None:
        until(
            lambda: any(
                job.state == "waiting" and job.orders[0].values["prompt"] == prompt
                for job in self.studio.desk.jobs()
            )
        )

    @staticmethod
    def like(pattern: str) -> re.Pattern[str]:
        """What a text begins with, over lines."""
        return re.compile(pattern, re.DOTALL)

    def assert_content(self) -> None:
        """Nothing was complained of, and nothing asked of anybody else."""
        assert not self.complaints
        assert self.hosts - {""} == {urlsplit(self.studio.url).netloc}  # "": pictures within the page
