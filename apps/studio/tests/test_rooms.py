"""What the tabs Gallery, Grids and Models promise, without a browser: their events are plain functions."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st
from inkpunk.models.hub_errors import HubError
from inkpunk.orders.axes import AxisError
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.grid_facts import Axis, GridFacts
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.recipe import read_recipe
from inkpunk_studio.gallery.gallery import Gallery
from inkpunk_studio.gallery.recipes import open_picture
from inkpunk_studio.gallery.shelf import Hung
from inkpunk_studio.page.adapters import with_adapter
from inkpunk_studio.page.assembling import Assembler, Axes, grid_path, put_together
from inkpunk_studio.page.fields import field
from inkpunk_studio.page.grids import Table, axes, axis_of
from inkpunk_studio.page.looking import A_PAGE, again, page_of, pages, said_again, variations
from inkpunk_studio.page.models import size, used
from inkpunk_studio.page.recipe import ALL, card, names_of, values_here
from inkpunk_studio.page.room import Room
from inkpunk_studio.page.shared import DRAW, EDIT, Shared
from inkpunk_studio.page.stage import note
from inkpunk_studio.page.weights import Fetching, adapters_of, what_adapter, what_it_is
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Drawn, Job, Progress
from inkpunk_studio.work.limits import ACCEPTED
from inkpunk_studio.work.models import Models

Hang = Callable[..., Path]
AXIS = st.builds(Axis, st.text(), st.lists(st.text()).map(tuple))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(pictures=tmp_path / "pictures", state=tmp_path / "state")


@pytest.fixture
def models(settings: Settings) -> Models:
    return Models(settings)


@pytest.fixture
def room(settings: Settings) -> Room:
    fields = field("prompt"), field("seed")
    shared = Shared(gr.Tabs(), fields, gr.ImageEditor(), gr.BrowserState([]))
    return Room(Desk(settings), Gallery(settings.pictures, settings.state), shared)


def chosen(index: int) -> gr.SelectData:
    return gr.SelectData(None, {"index": index, "value": None})


@any_of(st.integers(0, 3 * A_PAGE), st.integers(-3, 20))
def test_every_picture_is_on_one_page_and_no_page_is_beyond_the_last(count: int, number: int) -> None:
    hung = [Hung(str(place), Path(str(place)), place, 0) for place in range(count)]
    all_of_them = [each for page in range(pages(count)) for each in page_of(hung, page)[0]]
    assert all_of_them == hung
    shown, found = page_of(hung, number)
    assert 0 <= found < pages(count)
    assert len(shown) <= A_PAGE


def test_a_card_escapes_what_it_shows(settings: Settings, models: Models, hang: Hang) -> None:
    html = card(open_picture(hang(settings.pictures, prompt='a raven"><script>')), models)
    assert "<script" not in html
    assert "Guidance" in html


def test_the_parts_are_all_that_an_order_may_say() -> None:
    assert names_of(ALL) >= ACCEPTED - {"format"}
    assert not names_of(["Prompt"]) & names_of(["Seed"])


def test_a_picture_is_opened_reused_and_thrown_away(room: Room, settings: Settings, hang: Hang) -> None:
    hang(settings.pictures)
    _, ids, number, said = room.listed("raven", 3)
    assert (len(ids), number, said) == (1, 0, note("1 picture"))
    html, id, panel = room.opened(ids, chosen(0))
    assert "stage opened" in html
    assert panel.visible
    tabs, prompt, seed = room.reused(id, None, ["Prompt"])
    assert (tabs.selected, prompt, seed) == (DRAW, "a raven", gr.skip())
    assert room.reused(id, None, [*ALL])[1:] == ["a raven", "7"]
    tabs, path = room.edited(id)
    assert (tabs.selected, path) == (EDIT, str(settings.pictures / "a.png"))
    room.deleted(id, "", 0)
    assert room.gallery.pictures() == ()
    choice, said = room.thrown()
    assert said == note("1 in the trash.")
    room.restored(choice.choices[0][1])
    assert len(room.gallery.pictures()) == 1


def test_a_picture_that_went_is_said_to_be_gone(room: Room, settings: Settings, hang: Hang) -> None:
    path = hang(settings.pictures)
    _, ids, *_ = room.listed("", 0)
    path.unlink()
    html, id, panel = room.opened(ids, chosen(0))
    assert "there is none" in html
    assert id is None
    assert not panel.visible


def test_two_are_compared(room: Room, settings: Settings, hang: Hang) -> None:
    paths = [hang(settings.pictures, name) for name in ("a.png", "b.png")]
    slider = room.compared(*(each.id for each in sorted(room.gallery.pictures(), key=lambda each: each.name)))
    assert slider.visible
    assert [Path(each).name for each in slider.constructor_args["value"]] == [each.name for each in paths]


def test_what_is_dropped_is_read_and_its_place_is_not_told(room: Room, tmp_path: Path, hang: Hang) -> None:
    html, button = room.dropped(str(hang(tmp_path / "upload")))
    assert "Guidance" in html
    assert button.visible
    (tmp_path / "upload" / "b.png").write_text("no picture")
    html, button = room.dropped(str(tmp_path / "upload" / "b.png"))
    assert "neither PNG" in html
    assert str(tmp_path) not in html
    assert not button.visible


def test_a_variation_differs_in_its_noise_alone(settings: Settings, models: Models, hang: Hang) -> None:
    opened = open_picture(hang(settings.pictures))
    same = again(opened, models).values
    several = variations(opened, models, 0.15)
    assert len({each.values["vary"] for each in several}) == len(several)
    for each in several:
        assert {name: value for name, value in each.values.items() if name != "vary"} == same
        assert str(each.values["vary"]).endswith(":0.15")
    assert values_here(opened, models)["model"] == "sketch"


@pytest.mark.parametrize("told", [{"init_hash": "0" * 32, "strength": 0.5}, {"mask_hash": "0" * 32}])
def test_what_was_drawn_from_other_pictures_is_not_drawn_again(
    settings: Settings, models: Models, told: dict[str, object], hang: Hang
) -> None:
    with pytest.raises(OrderError, match="from other pictures"):
        again(open_picture(hang(settings.pictures, **told)), models)


def test_it_is_told_whether_a_picture_drawn_again_is_the_same(settings: Settings, hang: Hang) -> None:
    opened = open_picture(hang(settings.pictures))
    assert "the same to the last bit" in said_again(opened, hang(settings.pictures, "b.png"))
    assert "not the same" in said_again(opened, hang(settings.pictures, "c.png", colour="navy"))


def test_a_grid_has_an_order_for_each_cell_row_by_row() -> None:
    read = Table.read({"prompt": "a raven"}, "prompt=raven,owl", "steps=2-6(+2)", 64)
    cells = [(each.values["prompt"], each.values["steps"]) for each in read.orders]
    assert cells == [(f"a {bird}", steps) for steps in (2, 4, 6) for bird in ("raven", "owl")]
    assert len({each.seed for each in read.orders}) == 1


def test_a_blank_value_leaves_a_setting_open() -> None:
    read = Table.read({"prompt": "a raven", "lora": ("ink:1",)}, "lora=,neon:0.5", None, 64)
    assert [each.values.get("lora") for each in read.orders] == [None, ("neon:0.5",)]


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [
        ("", None, "there is no axis"),
        ("steps=1-65", None, "give at most 64"),
        ("steps=a", None, "must be a whole number"),
        ("steps=2", "steps=3", "on both axes"),
        ("prompt=owl,fox", None, "is not in the prompt"),
        ("init=a.png", None, "is no axis"),
        ("device=cuda", None, "is no axis"),
    ],
)
def test_axes_that_cannot_be_are_refused_in_a_line(x: str, y: str | None, line: str) -> None:
    with pytest.raises((AxisError, OrderError), match=line):
        Table.read({"prompt": "a raven"}, x, y, 64)


def test_every_axis_is_an_option_that_may_be_asked_for() -> None:
    assert {*axes()} <= ACCEPTED
    assert len({*axes()}) == len(axes())
    assert axis_of("steps", "2,3") == "steps=2,3"
    assert axis_of("", "2,3") is None


@pytest.fixture
def gridded(settings: Settings, hang: Hang) -> tuple[Job, Axes]:
    """A job that has drawn the cells of a grid."""
    read = Table.read({"prompt": "a raven"}, "steps=2,3", None, 64)
    paths = [hang(settings.pictures, f"raven-{steps:03}.png", steps=steps) for steps in (2, 3)]
    drawn = tuple(Drawn(place, path, 7, "", 1.0) for place, path in enumerate(paths))
    return Job("1", read.orders, "page: grid", "done", None, Progress(2, 2), drawn, (), None, 0.0), read.axes


def test_the_cells_of_a_job_become_one_picture_with_all_recipes(gridded: tuple[Job, Axes]) -> None:
    job, axes = gridded
    path = put_together(job, axes)
    assert path == grid_path(job)
    assert path.name == "raven-grid.png"
    assert read_facts(path).steps == 2
    assert open_picture(path).infotext.endswith('Script: X/Y/Z plot, X Type: Steps, X Values: "2, 3"')


def test_a_grid_is_put_together_once(gridded: tuple[Job, Axes]) -> None:
    path = put_together(*gridded)
    made = path.stat().st_mtime_ns
    assert put_together(*gridded) == path
    assert path.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("changes", "line"),
    [({"drawn": ()}, "2 of 2 cells"), ({"state": "cancelled"}, "stopped"), ({"state": "failed"}, "stopped")],
)
def test_without_all_cells_there_is_no_grid(
    gridded: tuple[Job, Axes], changes: dict[str, Any], line: str
) -> None:
    job, axes = gridded
    with pytest.raises(PictureError, match=line):
        put_together(replace(job, **changes), axes)


@any_of(st.builds(Axes, AXIS, st.none() | AXIS))
def test_axes_survive_json(axes: Axes) -> None:
    assert Axes.read(json.loads(json.dumps(asdict(axes)))) == axes


def test_a_grid_comes_though_the_studio_was_ended_before_its_cells_were_drawn(
    open_desk: Callable[..., Desk], gate: Any, settings: Settings
) -> None:
    read = Table.read(
        {"prompt": "a raven", "width": 64, "height": 64, "steps": 2, "seed": 7}, "guidance=2,3", None, 64
    )
    before = open_desk(load=gate)
    job = before.submit(read.orders, client="page: grid")
    Assembler(before, settings.state).begin(job, read.axes)
    gate.let_pass(1)
    before.close()
    assert not before.job(job.id).is_over
    after = open_desk()
    assembler = Assembler(after, settings.state)
    assembler.take_up()
    path = assembler.grid(job.id)
    assert path is not None
    assert path.exists()
    assert GridFacts.from_json(read_recipe(path).texts["inkpunk"]).x == read.axes.x
    assert Assembler(after, settings.state).grid(job.id) == path  # known by where it is


def test_what_is_no_plan_of_a_grid_is_passed_over(desk: Desk, settings: Settings) -> None:
    folder = settings.state / "grids"
    folder.mkdir()
    for name, text in (("1", "no JSON"), ("2", "[]"), ("3", '{"x": null, "y": null}')):
        (folder / f"{name}.json").write_text(text)
    Assembler(desk, settings.state).take_up()
    assert not [*folder.iterdir()]


def test_the_model_that_draws_can_be_changed(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "dream<b>.safetensors").write_bytes(b"no checkpoint")
    models = Models(replace(settings, models=(tmp_path / "models",)))
    html, choice = used(models, "dream<b>")
    assert models.current == "dream<b>"
    assert "dream&lt;b&gt;" in html
    assert [each[1] for each in choice.choices] == ["sketch", "dream<b>"]
    report = what_it_is(models, "dream<b>")
    assert "dream<b>.safetensors" in report
    assert str(tmp_path) not in report


def test_the_model_in_the_box_is_told_to_be_sound(models: Models) -> None:
    report = what_it_is(models, "sketch")
    assert report.startswith("sketch.safetensors: ")
    assert "unet" in report
    with pytest.raises(OrderError, match="not among those listed"):
        what_it_is(models, "/etc/passwd")


@pytest.mark.parametrize("told", ["/etc/passwd", "../models", "one", "https://example.com/a/b", ""])
def test_only_names_of_the_hub_are_fetched(settings: Settings, told: str) -> None:
    with pytest.raises(HubError):
        Fetching(told, settings)


def test_without_a_folder_of_models_nothing_is_fetched(settings: Settings) -> None:
    with pytest.raises(HubError, match="--models FOLDER"):
        Fetching("owner/name", settings)


def test_what_is_fetched_can_be_chosen(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "cache" / "dream.safetensors"
    held.parent.mkdir()
    held.write_bytes(b"weights")
    monkeypatch.setattr("inkpunk_studio.page.weights.fetch", lambda *told, **more: held)
    settings = replace(settings, models=(tmp_path / "models",))
    *_, last = Fetching("owner/dream", settings, tmp_path / "cache").progress()
    assert last == "dream.safetensors is there: choose it above."
    assert [each.name for each in Models(settings).known()] == ["sketch", "dream"]


def test_a_download_that_fails_says_why(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*told: object, **more: object) -> Path:
        raise HubError("owner/dream: there is none")

    monkeypatch.setattr("inkpunk_studio.page.weights.fetch", fails)
    *_, last = Fetching("owner/dream", replace(settings, models=(tmp_path,)), tmp_path).progress()
    assert last == "owner/dream: there is none"


def test_an_adapter_is_added_once_with_its_weight() -> None:
    lines = with_adapter("ink.safetensors:1", "neon.safetensors", 0.5)
    assert with_adapter(lines, "ink.safetensors", 0.25) == "neon.safetensors:0.5\nink.safetensors:0.25"
    assert with_adapter("ink.safetensors:1", None, 1) == "ink.safetensors:1"


def test_only_adapters_that_are_listed_are_looked_at(settings: Settings, shelf: Path) -> None:
    models = Models(replace(settings, choice=ModelChoice(lora_folder=str(shelf))))
    assert {*adapters_of(models)} == {"lcm", "lighthouse", "lighthouse-too"}
    for name in adapters_of(models):
        told = what_adapter(models, name)
        assert "rank" in told
        assert str(shelf) not in told
    assert "not among those listed" in what_adapter(models, "../notes.txt")


def test_sizes_are_read_at_a_glance() -> None:
    assert (size(None), size(3_370_000), size(4_270_000_000)) == ("", "3.4 MB", "4.27 GB")


def test_orders_of_a_grid_are_orders_like_any_other() -> None:
    [first, *_] = Table.read({"prompt": "a raven", "seed": 3}, "guidance=2-8[4]", None, 64).orders
    assert first == Order.read({"prompt": "a raven", "seed": 3, "guidance": 2})
