"""How the page looks: for screen readers, by day and by night, and on a phone."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_core_python.sync_playwright import Axe
from visiting import BOTH, PHONE, RAVEN, WIDE, Studio, Visit, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

README = Path(__file__).parents[2] / "pictures"
SERIOUS = ("serious", "critical")
TABS = ("Draw", "Edit", "Gallery", "Grids", "Models", "Queue")


@BOTH
def test_nothing_juts_out_and_axe_finds_no_serious_fault_by_day_and_by_night(visit: Visit) -> None:
    axe, page = Axe(), visit.page
    # by day nothing but the colours is another
    for scheme, rules in (("dark", {}), ("light", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        visit.reload()
        for tab in TABS:
            visit.tab(tab)
            page.wait_for_selector("[role=tabpanel]:visible")
            visit.unfold_all()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab
            serious = [
                f"{tab}, {scheme}: {each['id']}: {node['html'][:160]}"
                for each in axe.run(page, options=rules)["violations"]
                if each["impact"] in SERIOUS
                for node in each["nodes"]
            ]
            assert not serious, "\n".join(serious)


@pytest.mark.skipif(
    "INKPUNK_PICTURES_OF_THE_PAGE" not in os.environ, reason="only to make the README's pictures"
)
@pytest.mark.parametrize(
    ("name", "size", "scheme"), [("draw", WIDE, "dark"), ("phone", PHONE, "dark"), ("light", WIDE, "light")]
)
def test_pictures_for_the_readme(
    browser: "Browser", studio: Studio, name: str, size: tuple[int, int], scheme: str
) -> None:
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    visit = Visit(context, studio).open()
    visit.ask_for(RAVEN, Seed="7")
    visit.drawn()
    visit.page.wait_for_timeout(600)
    visit.page.evaluate("scrollTo(0, 0)")
    path = README / f"{name}.png"
    visit.page.screenshot(path=path)
    opened(path).convert("RGB").quantize(256).save(path, optimize=True)
    context.close()
