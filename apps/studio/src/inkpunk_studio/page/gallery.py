"""The tab Gallery: what was drawn, newest first; open one, reuse it, vary it, draw it again, compare two."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
from inkpunk.orders.order import Order

from inkpunk_studio.gallery.gallery import Gallery
from inkpunk_studio.page.drawing import QUIET, Shown, Stage
from inkpunk_studio.page.recipe import ALL
from inkpunk_studio.page.room import REFUSED, Room
from inkpunk_studio.page.shared import GALLERY, Shared, opens, stays
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

AMOUNT = 0.15  # of other noise: another picture of the same idea
LOOKING: dict[str, Any] = {"show_progress": "hidden"}


class Listing:
    """The pictures of a page, small; what is looked for; and the way to other pages.

    Attributes:
        ids: of the pictures that are seen.
        grid: that they are seen in.
        asked: what the events need that list them: the words that are looked for, and the page.
        outputs: what those events change.
    """

    def __init__(self, room: Room) -> None:
        """Put it where the page is being built."""
        self.ids = gr.State([])
        self._number = gr.State(0)
        with gr.Row(elem_classes="level"):
            words = gr.Textbox(
                label="Search the prompts", placeholder="raven dusk", elem_id="search", scale=3, min_width=200
            )
            newer = gr.Button("Newer", size="sm", elem_id="newer", min_width=80)
            older = gr.Button("Older", size="sm", elem_id="older", min_width=80)
            fresh = gr.Button("Refresh", size="sm", elem_id="refresh", min_width=80)
        said = gr.HTML("", elem_id="listed", elem_classes="said")
        self.grid = gr.Gallery(
            label="Pictures, newest first",
            show_label=False,
            columns=4,
            fit_columns=False,
            height="auto",
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="gallery",
        )
        self.asked = [words, self._number]
        self.outputs = [self.grid, self.ids, self._number, said]

        def newest(told: str | None) -> tuple[Any, ...]:
            return room.listed(told, 0)

        def turned(by: int) -> Callable[..., tuple[Any, ...]]:
            def turn(told: str | None, number: int) -> tuple[Any, ...]:
                return room.listed(told, number + by)

            return turn

        def come(told: str | None, number: int, chosen: gr.SelectData) -> tuple[Any, ...]:
            return room.listed(told, number) if opens(chosen, GALLERY) else (stays(),) * len(self.outputs)

        room.shared.tabs.select(come, self.asked, self.outputs, **LOOKING)
        for trigger in (words.submit, fresh.click):
            trigger(newest, words, self.outputs, **LOOKING)
        newer.click(turned(-1), self.asked, self.outputs, **LOOKING)
        older.click(turned(1), self.asked, self.outputs, **LOOKING)


def gallery_tab(desk: Desk, settings: Settings, shared: Shared) -> None:
    """Fill the tab Gallery.

    Args:
        desk: where pictures are asked for.
        settings: which folder it is.
        shared: what the tabs share.
    """
    gallery = Gallery(settings.pictures, settings.state)
    gr.set_static_paths([gallery.thumbnails.folder])  # they are shown as they are, and not copied once more
    room = Room(desk, gallery, shared)
    with gr.Row(elem_classes="gallery-row"):
        with gr.Column(scale=3, min_width=300):
            listing = Listing(room)
        with gr.Column(scale=2, min_width=300, visible=False, elem_id="opened") as panel:
            _panel(room, listing, panel)
    with gr.Accordion("Recipe of a picture from elsewhere", open=False, elem_id="elsewhere"):
        _elsewhere(room)
    with gr.Accordion("Trash", open=False, elem_id="trash") as bin:
        _trash(room, listing, bin)


def _panel(room: Room, listing: Listing, panel: gr.Column) -> None:
    """The picture that is open, and what can be done with it."""
    current, marked, nothing = gr.State(None), gr.State(None), gr.State(None)
    shown = gr.HTML(elem_classes="stage-box")
    parts = gr.CheckboxGroup(list(ALL), value=list(ALL), label="What to reuse")
    with gr.Row():
        reuse = gr.Button("Reuse", variant="primary", elem_id="reuse", min_width=100)
        edit = gr.Button("Edit", elem_id="edit-opened", min_width=80)
        delete = gr.Button("Move to trash", elem_id="delete", min_width=110)
    with gr.Row(elem_classes="level"):
        amount = gr.Slider(0.01, 1, AMOUNT, step=0.01, label="Variation strength", min_width=160, scale=2)
        vary = gr.Button("Vary", elem_id="vary", min_width=80)
    with gr.Row():
        replay = gr.Button("Draw again", elem_id="replay", min_width=110)
        mark = gr.Button("Mark for comparing", elem_id="mark", min_width=130)
        compare = gr.Button("Compare", elem_id="compare", min_width=180)
    slider = gr.ImageSlider(
        label="Left the marked one, right the other",
        visible=False,
        type="filepath",
        interactive=False,
        elem_id="compared",
    )
    stage = Stage.make("gallery", room.shared.jobs)
    same = gr.HTML("", elem_id="same")

    listing.grid.select(room.opened, listing.ids, [shown, current, panel], **LOOKING)
    filled = [room.shared.tabs, *room.shared.components]
    reuse.click(room.reused, [current, nothing, parts], filled, **LOOKING)
    edit.click(room.edited, current, [room.shared.tabs, room.shared.edited], **LOOKING)
    delete.click(room.deleted, [current, *listing.asked], [panel, current, *listing.outputs], **LOOKING)
    mark.click(_same, current, marked, **LOOKING)
    compare.click(room.compared, [marked, current], slider, **LOOKING)
    vary.click(_draws(room, stage, room.varied), [stage.jobs, current, amount], stage.outputs, **QUIET)
    replay.click(_draws(room, stage, room.replayed), [stage.jobs, current], stage.outputs, **QUIET).then(
        room.told_again, [current, stage.current], same, **LOOKING
    )


def _same(id: str | None) -> str | None:
    return id


def _draws(
    room: Room, stage: Stage, orders_of: Callable[..., list[Order]]
) -> Callable[..., AsyncIterator[Shown]]:
    async def draw(request: gr.Request, known: list[str] | None, *asked: Any) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash)
        try:
            orders = await asyncio.to_thread(orders_of, *asked)
        except REFUSED as error:
            yield stage.refused(error)
            return
        async for each in stage.drawn(room.desk, turn, known or [], orders):
            yield each

    return draw


def _elsewhere(room: Room) -> None:
    """A picture that is dropped, and what it says."""
    drop = gr.File(
        label="Drop a picture: inkpunk's, or another program's", type="filepath", elem_id="dropped"
    )
    told = gr.HTML("", elem_id="dropped-recipe", elem_classes="stage-box")
    take = gr.Button("Reuse its recipe", visible=False, elem_id="reuse-dropped")
    nothing: gr.State = gr.State(None)
    everything: gr.State = gr.State(list(ALL))
    drop.change(room.dropped, drop, [told, take], **LOOKING)
    filled = [room.shared.tabs, *room.shared.components]
    take.click(room.reused, [nothing, drop, everything], filled, **LOOKING)


def _trash(room: Room, listing: Listing, bin: gr.Accordion) -> None:
    """What was deleted, and can be had back."""
    thrown = gr.Dropdown([], label="Deleted pictures", elem_id="thrown")
    said = gr.HTML("", elem_classes="said")
    with gr.Row():
        restore = gr.Button("Restore", elem_id="restore", min_width=100)
        empty = gr.Button("Delete all for good", variant="stop", elem_id="empty-trash", min_width=160)
    outputs = [thrown, said]
    bin.expand(room.thrown, None, outputs, **LOOKING)
    restore.click(room.restored, thrown, outputs, **LOOKING).then(
        room.listed, listing.asked, listing.outputs, **LOOKING
    )
    empty.click(room.emptied, None, outputs, **LOOKING)
