"""The tab Edit in a real browser."""

from PIL import ImageChops
from playwright.sync_api import expect
from visiting import BOTH, QUICK, RAVEN, Visit, opened


@BOTH
def test_what_is_painted_over_is_drawn_anew_and_nothing_else(visit: Visit) -> None:
    visit.ask_for(RAVEN, **QUICK)
    before = visit.drawn()
    visit.page.click("#to-edit")
    expect(visit.page.locator("#edit-prompt textarea")).to_have_value(RAVEN)
    visit.paint()
    visit.page.click("#edit-now")
    after = visit.drawn("edit")
    old, new = (opened(each).convert("RGB") for each in (before, after))
    assert new.size == old.size
    changed = ImageChops.difference(old, new).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    assert (right - left) * (bottom - top) < old.width * old.height / 2


def test_a_picture_is_dropped_extended_and_enlarged(visit: Visit) -> None:
    visit.ask_for(RAVEN, **QUICK)
    before = visit.drawn()
    visit.tab("Edit")
    visit.page.click("#edit-now")
    expect(visit.page.locator("#edit-stage [role=alert]")).to_contain_text("there is no picture to edit")
    visit.drop(before)
    visit.page.fill("#edit-prompt textarea", RAVEN)
    visit.unfold("Extend")
    visit.page.get_by_label("Left, pixels").fill("64")
    visit.page.click("#edit-now")
    wide = visit.drawn("edit")
    assert opened(wide).size == (320, 256)
    visit.page.get_by_label("Left, pixels").fill("0")
    visit.go_on()
    visit.unfold("Enlarge")
    visit.choose("#factor", "1.5")
    visit.page.click("#edit-now")
    large = visit.drawn("edit", but=wide)
    assert opened(large).size == (480, 384)


def test_a_picture_is_followed_by_the_network_that_is_chosen_for_it(visit: Visit) -> None:
    visit.ask_for(RAVEN, **QUICK)
    before = visit.drawn()
    visit.tab("Edit")
    visit.page.fill("#edit-prompt textarea", RAVEN)
    visit.unfold("Follow a picture")
    visit.page.set_input_files("#followed input[type=file]", before)
    visit.page.locator("#followed img").wait_for()
    visit.choose("#followed-kind", "depth")
    visit.choose("#followed-network", "contours_canny")  # a file that lies in the folder of models
    expect(visit.page.locator("#followed-kind input")).to_have_value("canny")
    visit.page.click("#edit-now")
    followed = visit.drawn("edit")
    [order] = visit.studio.newest("page: edit").orders
    [control] = order.values["control"]
    assert control.startswith("canny:")
    assert order.values["control-net"] == ("canny=contours_canny",)
    assert "init" not in order.values
    assert opened(followed).size == (256, 256)
    assert opened(followed).convert("RGB").tobytes() != opened(before).convert("RGB").tobytes()
