"""The tabs Grids, Models and Queue in a real browser."""

from inkpunk.pictures.grid_facts import GridFacts
from playwright.sync_api import expect
from visiting import QUICK, RAVEN, Visit, opened


def test_a_grid_comes_and_is_there_when_the_page_is_opened_again(visit: Visit) -> None:
    page = visit.page
    visit.type_no_more()
    page.fill("#prompt textarea", RAVEN)
    visit.fill(**QUICK)
    visit.tab("Grids")
    page.fill("#grid-x-values textarea, #grid-x-values input", "euler, heun")
    page.fill("#grid-y-values textarea, #grid-y-values input", "2, 3")
    page.click("#grid-now")
    expect(page.get_by_alt_text("A grid of 4 pictures")).to_be_visible()
    name = page.locator("#grid-stage a[download]").get_attribute("download")
    assert name is not None
    facts = GridFacts.from_json(opened(visit.studio.settings.pictures / name).info["inkpunk"])
    assert [[(cell.sampler, cell.steps) for cell in row] for row in facts.cells] == [
        [("euler", 2), ("heun", 2)],
        [("euler", 3), ("heun", 3)],
    ]
    visit.reload()
    visit.tab("Grids")
    expect(page.get_by_alt_text("A grid of 4 pictures")).to_be_visible()
    visit.tab("Queue")
    expect(page.locator(".job.done").first).to_contain_text("Grids · 4 pictures")


def test_what_waits_is_moved_and_cancelled_and_survives_a_closed_page(visit: Visit) -> None:
    page, desk = visit.page, visit.studio.desk
    visit.ask_for_long()
    for prompt in ("a fox that waits", "an owl that waits"):
        page.fill("#prompt textarea", prompt)
        page.click("#draw-now")
        visit.waits_in_the_queue(prompt)
    visit.reopen()
    visit.tab("Queue")
    waiting = visit.page.locator(".job.waiting")
    expect(waiting).to_have_count(2)
    expect(waiting.first).to_contain_text("a fox that waits")
    waiting.last.get_by_role("button", name="Sooner").click()
    expect(waiting.first).to_contain_text("an owl that waits")
    waiting.first.get_by_role("button", name="Cancel").click()
    expect(waiting).to_have_count(1)
    expect(visit.page.locator(".job.drawing")).to_have_count(1)
    assert [job.orders[0].values["prompt"] for job in desk.jobs() if not job.is_over] == [
        "a fox that waits",
        RAVEN,
    ]
    visit.page.locator(".job.drawing").get_by_role("button", name="Cancel").click()
    expect(visit.page.locator(".job.drawing")).to_contain_text("a fox that waits")


def test_models_are_inspected_switched_and_fetched(visit: Visit) -> None:
    page, desk = visit.page, visit.studio.desk
    visit.tab("Models")
    visit.choose("#one-model", "broken")
    page.click("#inspect-model")
    report = page.locator("#model-report textarea")
    expect(report).to_have_value(visit.like("broken.safetensors: .*"))
    visit.choose("#one-model", "dream")
    page.click("#inspect-model")
    expect(report).to_have_value(visit.like("dream.safetensors: .*unet"))
    page.click("#use-model")
    expect(page.locator("table.models")).to_contain_text("in use")
    visit.tab("Draw")
    expect(page.locator("#model input")).to_have_value("default: dream")
    expect(page.get_by_label("Draw while I type")).to_be_hidden()
    visit.page.fill("#prompt textarea", RAVEN)
    visit.fill(**QUICK)
    page.click("#draw-now")
    assert "Model: dream" in opened(visit.drawn()).info["parameters"]
    desk.models.use("sketch")
    visit.tab("Models")
    visit.unfold("Download from Hugging Face")
    page.fill("#hub-name textarea, #hub-name input", "owner/neon")
    page.click("#fetch-model")
    coming = page.locator("#coming textarea, #coming input")
    expect(coming).to_have_value(visit.like("Fetching owner/neon: 3 MB.*"))
    visit.studio.hub.may_end.set()
    expect(coming).to_have_value("neon.safetensors is there: choose it above.")
    visit.choose("#one-model", "neon")
