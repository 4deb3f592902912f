"""What the page's parts promise, without a browser: tests/browser has the rest."""

import asyncio
import re
from io import BytesIO
from pathlib import Path

import gradio as gr
import pytest
from hypothesis import given as any_of
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk_studio.page import page
from inkpunk_studio.page.assembling import Assembler
from inkpunk_studio.page.drawing import Stage
from inkpunk_studio.page.given import Given, painted
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.queue import listed
from inkpunk_studio.page.reading import reading_of
from inkpunk_studio.page.stage import said, stage
from inkpunk_studio.page.theme import theme
from inkpunk_studio.page.turns import Turns
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Drawn, Job, Progress
from PIL import Image

HERE = Path(page.__file__).parent
MOST_PIXELS = 64 * 64


def job(prompt: str = "a raven", **told: object) -> Job:
    values: dict[str, object] = {
        "id": "1",
        "orders": (Order.read({"prompt": prompt, "seed": 7}),),
        "client": "page",
        "state": "drawing",
        "place": None,
        "progress": Progress(0, 1, 3, 12, 4.2),
        "drawn": (),
        "warnings": (),
        "error": None,
        "made": 0.0,
    }
    return Job(**(values | told))  # pyright: ignore[reportArgumentType]


@any_of(st.integers(0, 2**63 - 64), st.integers(1, 64))
def test_pictures_count_on_from_the_first_seed(seed: int, count: int) -> None:
    orders = orders_of({"prompt": "a raven", "seed": seed}, count, 64)
    assert [order.seed for order in orders] == list(range(seed, seed + count))


def test_without_a_seed_each_asking_has_another() -> None:
    assert orders_of({"prompt": "a"}, 1, 1)[0].seed != orders_of({"prompt": "a"}, 1, 1)[0].seed


@pytest.mark.parametrize(("seed", "count"), [(2**63 - 1, 2), (-1, 1), (7, 0), (7, 65)])
def test_seeds_and_counts_that_cannot_be_are_refused(seed: int, count: int) -> None:
    with pytest.raises(OrderError, match="must be"):
        orders_of({"prompt": "a raven", "seed": seed}, count, 64)


@hypothesis_settings(deadline=None)  # the first one reads the vocabulary
@any_of(st.text(max_size=200))
def test_any_prompt_is_read_or_refused_and_never_becomes_markup(text: str) -> None:
    for html in reading_of({"prompt": text + "<script>", "negative": text}):
        assert "<script" not in html


def test_a_long_prompt_has_chunks_and_weights_are_told() -> None:
    html, _ = reading_of({"prompt": "raven " * 80 + "(neon:1.5)"})
    assert "81 of 150 tokens · 2 chunks" in html
    assert "<sup>1.5</sup>" in html


@any_of(st.text(max_size=60), st.text(max_size=60))
def test_a_stage_escapes_what_it_is_told(prompt: str, error: str) -> None:
    drawn = (Drawn(0, Path('/pictures/a"><script>.png'), 7, "", 1.0),)
    html = stage(job(prompt + '"><script>', state="failed", error=error + "<script>", drawn=drawn))
    assert "<script" not in html


def test_it_says_how_far_it_is() -> None:
    assert said(job()) == "Step 3 of 12 · 4 s left"
    assert said(job(state="waiting", place=2)) == "2 before it in the queue"
    assert said(job(progress=Progress(1, 4, 0, 0))) == "Picture 2 of 4 · getting ready"


def test_the_newest_asking_of_a_page_owns_its_stage() -> None:
    turns = Turns()
    first, other, second = turns.take("a"), turns.take("b"), turns.take("a")
    assert [turns.is_newest(each) for each in (first, other, second)] == [False, True, True]


def test_an_asking_that_comes_late_owns_nothing() -> None:
    turns = Turns()
    newer, older, another = turns.take("a", 20.0), turns.take("a", 10.0), turns.take("b", 10.0)
    assert [turns.is_newest(each) for each in (newer, older, another)] == [True, False, True]
    assert turns.is_newest(turns.take("a"))  # nobody knows when


def test_a_stage_says_why_it_refuses_without_markup() -> None:
    shown = Stage(gr.HTML(), gr.HTML(), gr.State(), gr.BrowserState()).refused(OrderError("<script>"))
    assert "<script" not in "".join(map(str, shown))


def test_what_is_typed_is_taken_over_once() -> None:
    turns = Turns()
    turns.note_typed(turns.take("a"), "1")
    newest = turns.take("a")
    assert turns.typed(turns.take("b")) is None
    assert [turns.typed(newest), turns.take_typed(newest), turns.take_typed(newest)] == ["1", "1", None]


def test_stop_holds_for_what_was_typed_before_it_however_late_it_comes() -> None:
    turns = Turns()
    turns.note_typed(turns.take("a", 10.0), "1")
    assert [turns.stop("a", 20.0), turns.stop("b", 20.0)] == ["1", None]
    assert not turns.may_draw(turns.take("a", 19.0))
    assert turns.may_draw(turns.take("a", 21.0))
    assert turns.may_draw(turns.take("c", 1.0))


def test_a_list_of_jobs_escapes_and_tells_whose_turn_it_is() -> None:
    first, second = job('"><script>', state="waiting", place=0), job(id="2", state="waiting", place=1)
    html = listed([first, second, job(state="done")])
    assert "<script" not in html
    assert [re.findall(r'data-act="(\w+)"', row) for row in html.split("<li")[1:]] == [
        ["later", "cancel"],
        ["sooner", "cancel"],
        [],
    ]


def test_what_is_painted_is_the_mask_of_any_layer() -> None:
    stroke = Image.new("RGBA", (8, 8))
    stroke.paste((255, 0, 0, 200), (2, 2, 4, 4))
    mask = painted([Image.new("RGBA", (8, 8)), stroke], (8, 8))
    assert mask is not None
    assert mask.getbbox() == (2, 2, 4, 4)
    assert painted([Image.new("RGBA", (8, 8))], (8, 8)) is None


@pytest.mark.parametrize("held", [None, {"background": None}, {"background": Image.new("RGBA", (8, 8))}])
def test_an_editor_without_a_picture_gives_none_and_no_picture_at_all_is_refused(
    held: dict[str, object] | None,
) -> None:
    given = Given(MOST_PIXELS)
    given.edited(held)
    assert not given.values
    with pytest.raises(OrderError, match="there is no picture to edit, and none to follow"):
        given.asked_with({"prompt": "a raven"})


def test_the_size_is_told_where_a_picture_is_followed_and_none_is_edited() -> None:
    told, picture = {"prompt": "a raven", "width": 64, "height": 96}, Image.new("RGB", (8, 8), "red")
    given = Given(MOST_PIXELS)
    given.followed(picture, "canny", 1, (0, 1), ready=False)
    assert given.asked_with(told) == told | given.values
    given.edited({"background": picture, "layers": []})
    assert given.asked_with(told) == {"prompt": "a raven"} | given.values


def test_what_is_given_names_pictures_that_go_with_it() -> None:
    given, picture = Given(MOST_PIXELS), Image.new("RGB", (8, 8), "red")
    given.edited({"background": picture, "layers": []})
    given.extended({"left": 64, "top": 0, "right": None, "bottom": 8})
    given.followed(picture, "canny", 0.5, (0, 0.6), ready=False)
    given.placed("an owl", picture)
    [name] = {each.name for each in given.attachments}
    assert given.values == {
        "init": name,
        "extend": "left=64,bottom=8",
        "control": (f"canny:{name}:0.5:0-0.6",),
        "region": (f"an owl@{name}",),
    }


def test_a_picture_of_more_pixels_than_are_drawn_becomes_smaller_with_its_mask() -> None:
    given, painted_over = Given(MOST_PIXELS), Image.new("RGBA", (400, 100))
    painted_over.paste((0, 0, 0, 255), (0, 0, 200, 100))
    given.edited({"background": Image.new("RGB", (400, 100), "red"), "layers": [painted_over]})
    init, mask = (Image.open(BytesIO(each.data)) for each in given.attachments)
    assert init.size == mask.size == (128, 32)
    assert mask.getbbox() == pytest.approx((0, 0, 64, 32), abs=3)


def test_nothing_of_the_looks_comes_from_elsewhere() -> None:
    looks = "".join((HERE / name).read_text(encoding="utf-8") for name in ("style.css", "keys.js"))
    assert not re.search(r"https?:|@import|url\(", looks)
    assert not theme()._stylesheets  # pyright: ignore[reportPrivateUsage]


async def _built(desk: Desk, settings: Settings) -> gr.Blocks:
    # in a loop, or Gradio makes one that nobody closes
    return page.build(desk, settings, Assembler(desk, settings.state))


def test_the_page_tells_nobody_of_its_use(tmp_path: Path) -> None:
    settings = Settings(pictures=tmp_path / "pictures", state=tmp_path / "state")
    built = asyncio.run(_built(Desk(settings), settings))
    assert not built.analytics_enabled
