"""The tab Draw in a real browser."""

from playwright.sync_api import expect
from visiting import BOTH, LONG, QUICK, RAVEN, Visit, opened, until


@BOTH
def test_a_prompt_becomes_a_picture_by_ctrl_enter_and_its_seed_draws_it_again(visit: Visit) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", "a (raven:1.3) at dusk")
    told = visit.page.locator(".reading-box summary").first
    expect(told).to_have_text("4 of 75 tokens")
    told.click()
    expect(visit.page.locator(".reading .more").first).to_have_text("raven1.3")
    visit.fill(**QUICK)
    visit.page.press("#prompt textarea", "Control+Enter")
    first = visit.drawn()
    assert opened(first).info["parameters"].startswith("a (raven:1.3) at dusk")
    visit.page.click("#again")
    expect(visit.page.locator("#seed textarea, #seed input").first).not_to_have_value("")
    visit.page.click("#draw-now")
    again = visit.drawn(but=first)
    assert again != first
    assert opened(again).tobytes() == opened(first).tobytes()


def test_it_draws_while_one_types_and_keeps_but_the_last(visit: Visit) -> None:
    pictures = visit.studio.settings.pictures
    before = {*pictures.glob("*.png")}
    visit.fill(**QUICK)
    visit.page.locator("#prompt textarea").press_sequentially("nvinkpunk owl, neon blue", delay=40)
    visit.page.wait_for_selector("#draw-stage .drawn img[alt='nvinkpunk owl, neon blue']")
    first = visit.drawn()
    visit.page.locator("#prompt textarea").press_sequentially(" splash", delay=40)
    visit.page.wait_for_selector("#draw-stage .drawn img[alt='nvinkpunk owl, neon blue splash']")
    last = visit.drawn(but=first)
    until(lambda: {*pictures.glob("*.png")} - before == {last})


def test_a_key_gives_up_what_was_drawn_for_those_before(visit: Visit) -> None:
    visit.fill(Steps=LONG["Steps"])
    visit.page.locator("#prompt textarea").press_sequentially("an owl", delay=40)
    visit.page.wait_for_selector("#draw-stage img.preview")
    former = visit.studio.newest("typing")
    visit.page.locator("#prompt textarea").press_sequentially(" at dusk", delay=40)
    assert visit.studio.desk.wait(former.id, 60.0).state == "cancelled"
    visit.page.click("#draw-stop")
    visit.page.wait_for_selector("#draw-stage .empty .note")


@BOTH
def test_a_page_that_is_opened_again_goes_on_where_it_was_and_stops_within_a_step(visit: Visit) -> None:
    job = visit.ask_for_long()
    visit.reload()
    visit.page.wait_for_selector("#draw-stage img.preview")
    expect(visit.page.locator("#prompt textarea")).to_have_value(RAVEN)
    visit.reopen()
    visit.page.wait_for_selector("#draw-stage img.preview")
    assert visit.studio.desk.job(job.id).state == "drawing"
    visit.page.keyboard.press("Escape")  # it knows which one it shows
    stopped = visit.studio.desk.wait(job.id, 60.0)
    assert stopped.state == "cancelled"
    assert len(stopped.drawn) < int(LONG["Pictures"])
    visit.page.wait_for_selector("#draw-stage .note >> text=Stopped")


def test_the_button_stops_too_and_what_cannot_be_drawn_is_told(visit: Visit) -> None:
    job = visit.ask_for_long()
    visit.page.click("#draw-stop")
    assert visit.studio.desk.wait(job.id, 60.0).state == "cancelled"
    visit.page.wait_for_selector("#draw-stage .note >> text=Stopped")
    visit.fill(Steps="many")
    visit.page.click("#draw-now")
    expect(visit.page.locator("#draw-stage [role=alert]")).to_have_text(
        "steps 'many': must be a whole number"
    )


def test_several_pictures_come_as_many_and_an_adapter_is_in_the_recipe(visit: Visit) -> None:
    visit.tab("Models")
    visit.unfold("Adapters")
    visit.choose("#one-adapter", "lighthouse")
    expect(visit.page.locator("#adapter-report textarea")).to_have_value(visit.like(".*rank"))
    visit.page.locator("#one-weight input[type=number]").fill("0.4")
    visit.page.click("#add-adapter")
    visit.ask_for(RAVEN, **QUICK, Pictures="2")
    last = visit.drawn()
    assert visit.page.locator("#draw-stage .drawn").count() == 2
    assert "lighthouse: 0.4" in opened(last).info["parameters"]


def test_a_learned_word_is_written_into_the_prompt_and_drawn(visit: Visit) -> None:
    visit.type_no_more()
    visit.page.fill("#prompt textarea", "nvinkpunk raven")
    visit.fill(**QUICK)
    visit.unfold("Adapters")
    visit.choose("#learned-word", "glimmer")
    visit.page.click("#write-word")
    expect(visit.page.locator("#prompt textarea")).to_have_value("nvinkpunk raven, glimmer")
    visit.page.locator(".reading-box summary").first.click()
    expect(visit.page.locator(".reading .learned")).to_have_text("glimmer: 2 learned")
    visit.page.click("#draw-now")
    assert 'TI hashes: "glimmer: ' in opened(visit.drawn()).info["parameters"]
