"""The tab Gallery in a real browser."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect
from visiting import BOTH, QUICK, RAVEN, Visit, opened

THEIRS = "an owl at dusk\nNegative prompt: blurry\nSteps: 5, Sampler: Euler a, CFG scale: 6, Seed: 5, Size: 256x256"


@BOTH
def test_a_recipe_is_reused_whole_and_in_part(visit: Visit) -> None:
    visit.ask_for(RAVEN, **QUICK)
    first = visit.drawn()
    visit.page.fill("#prompt textarea", "something else")
    visit.fill(Steps="9")
    visit.look_at("raven")
    visit.labelled("Sampler, steps and all else").uncheck()
    visit.labelled("Seed").uncheck()
    visit.page.click("#reuse")
    expect(visit.page.locator("#prompt textarea")).to_have_value(RAVEN)
    expect(visit.labelled("Steps")).to_have_value("9")
    visit.tab("Gallery")
    visit.labelled("Sampler, steps and all else").check()
    visit.labelled("Seed").check()
    visit.page.click("#reuse")
    expect(visit.labelled("Steps")).to_have_value("4")
    visit.page.click("#draw-now")
    again = visit.drawn(but=first)
    assert opened(again).tobytes() == opened(first).tobytes()


def test_a_picture_is_drawn_again_varied_compared_and_thrown_away(visit: Visit) -> None:
    page, gallery = visit.page, visit.studio.settings.pictures
    visit.ask_for("nvinkpunk whale", **QUICK)
    first = visit.drawn()
    visit.look_at("whale")
    page.click("#mark")
    page.click("#replay")
    expect(page.locator("#same .note")).to_contain_text("the same to the last bit")
    replayed = visit.drawn("gallery")
    page.click("#vary")
    varied = visit.drawn("gallery", but=replayed)
    assert page.locator("#gallery-stage .drawn").count() == 4
    assert opened(varied).tobytes() != opened(first).tobytes()
    page.click("#refresh")
    expect(page.locator("#listed")).to_contain_text("6 pictures")
    visit.open_picture(varied)
    page.click("#compare")
    expect(page.locator("#compared img")).to_have_count(2)
    handle = page.locator("#compared .handle-wrap, #compared .inner, #compared [role=slider]").first
    expect(handle).to_be_attached()
    page.click("#delete")
    expect(page.locator("#listed")).to_contain_text("5 pictures")
    assert not varied.exists()
    visit.unfold("Trash")
    visit.choose("#thrown", varied.name)
    page.click("#restore")
    expect(page.locator("#listed")).to_contain_text("6 pictures")
    assert (gallery / varied.name).exists()


def test_any_picture_with_a_recipe_can_be_dropped(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    visit.ask_for(RAVEN, **QUICK)
    ours, theirs = visit.drawn(), tmp_path / "theirs.png"
    text = PngInfo()
    text.add_text("parameters", THEIRS)
    Image.new("RGB", (256, 256), "teal").save(theirs, pnginfo=text)
    visit.tab("Gallery")
    visit.unfold("Recipe of a picture from elsewhere")
    page.set_input_files("#dropped input[type=file]", theirs)
    expect(page.locator("#dropped-recipe")).to_contain_text("AUTOMATIC1111")
    page.click("#reuse-dropped")
    expect(page.locator("#prompt textarea")).to_have_value("an owl at dusk")
    expect(page.locator("#negative textarea")).to_have_value("blurry")
    expect(visit.labelled("Steps")).to_have_value("5")
    visit.tab("Gallery")
    page.locator("#dropped").get_by_label("Clear").or_(
        page.locator("#dropped").get_by_label("Remove")
    ).first.click()
    page.set_input_files("#dropped input[type=file]", ours)
    expect(page.locator("#dropped-recipe")).to_contain_text("inkpunk")
    page.click("#reuse-dropped")
    expect(page.locator("#prompt textarea")).to_have_value(RAVEN)
