"""The tab Gallery: what was drawn, newest first; open one, reuse it, vary it, draw it again, compare two."""

import asyncio
from collections.abc import AsyncIterator, Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.pictures.facts import PictureError

from inkpunk_studio.gallery.gallery import Gallery
from inkpunk_studio.gallery.recipes import Opened, open_picture
from inkpunk_studio.gallery.shelf import NoSuchPictureError
from inkpunk_studio.page.drawing import QUIET, Shown, Stage
from inkpunk_studio.page.looking import again, page_of, pages, said_again, tiles, variations
from inkpunk_studio.page.recipe import ALL, card, names_of, values_here
from inkpunk_studio.page.shared import DRAW, EDIT, GALLERY, Shared, stays
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

REFUSED = (NoSuchPictureError, PictureError, OrderError, OSError)
AMOUNT = 0.15  # of other noise: another picture of the same idea
LOOKING: dict[str, Any] = {"show_progress": "hidden"}


class Room:
    """What the tab's events do, for a gallery and a desk."""

    def __init__(self, desk: Desk, gallery: Gallery, shared: Shared) -> None:
        """Say for which ones.

        Args:
            desk: where pictures are asked for.
            gallery: that is looked at.
            shared: what the tabs share.
        """
        self.desk, self.gallery, self.shared = desk, gallery, shared

    def listed(self, words: str, number: int) -> tuple[Any, ...]:
        """The grid, the ids in it, the page's number, and what is said of it."""
        hung = self.gallery.pictures(words or "")
        shown, number = page_of(hung, number)
        seen, ids = tiles(self.gallery, shown)
        many = "1 picture" if len(hung) == 1 else f"{len(hung):,} pictures"
        said = f"{many}, page {number + 1} of {pages(len(hung))}"
        return gr.Gallery(value=seen, selected_index=None), ids, number, said

    def opened(self, ids: list[str], chosen: gr.SelectData) -> tuple[Any, ...]:
        """The card, the picture's id, and the panel."""
        id = ids[chosen.index] if isinstance(chosen.index, int) and chosen.index < len(ids) else ""
        try:
            return card(self.gallery.open(id), self.desk.models), id, gr.Column(visible=True)
        except REFUSED as error:
            return problem(error), None, gr.Column(visible=False)

    def look_at(self, id: str | None, dropped: str | None) -> Opened:
        """What is open: a picture that was dropped here, or one of the gallery.

        Raises:
            NoSuchPictureError, PictureError: there is none.
        """
        return open_picture(Path(dropped)) if dropped else self.gallery.open(id or "")

    def reused(self, id: str | None, dropped: str | None, parts: list[str]) -> list[Any]:
        """The tabs and Draw's fields, filled with parts of a recipe."""
        try:
            values = values_here(self.look_at(id, dropped), self.desk.models)
        except REFUSED as error:
            gr.Warning(str(error))
            return [stays()] * (1 + len(self.shared.components))
        only = None if {*parts} == {*ALL} else names_of(parts)
        return [self.shared.opened(DRAW), *self.shared.filled(values, only)]

    def edited(self, id: str | None) -> tuple[Any, Any]:
        """The tabs and Edit's editor, with the picture in it."""
        try:
            return self.shared.opened(EDIT), str(self.gallery.picture(id or "").path)
        except NoSuchPictureError as error:
            gr.Warning(str(error))
            return stays(), stays()

    def dropped(self, path: str | None) -> tuple[Any, Any]:
        """The card of a picture from elsewhere, and its buttons."""
        if path is None:
            return "", gr.Button(visible=False)
        try:
            opened = open_picture(Path(path))
        except PictureError as error:
            # where an upload lies is nobody's business
            return problem(str(error).replace(path, Path(path).name)), gr.Button(visible=False)
        return card(opened, self.desk.models, shown=False), gr.Button(visible=bool(opened.values))

    def compared(self, first: str | None, id: str | None) -> Any:
        """The slider, with two pictures under it."""
        try:
            pair = str(self.gallery.picture(first or "").path), str(self.gallery.picture(id or "").path)
        except NoSuchPictureError:
            gr.Warning("Remember one picture first, and then open another.")
            return stays()
        return gr.ImageSlider(value=pair, visible=True)

    def deleted(self, id: str | None, words: str, number: int) -> tuple[Any, ...]:
        """The panel, and the list without the picture, which is in the trash."""
        try:
            gone = self.gallery.delete(id or "")
            gr.Info(f"{escape(gone.name)} is in the trash.")
        except REFUSED as error:
            gr.Warning(str(error))
        return (gr.Column(visible=False), None, *self.listed(words, number))

    def thrown(self) -> tuple[Any, Any]:
        """The choice of what is in the trash, and what is said of it."""
        there = self.gallery.trashed()
        many = "The trash is empty." if not there else f"{len(there):,} in the trash."
        return gr.Dropdown(choices=[(each.name, each.id) for each in there], value=None), many

    def restored(self, id: str | None) -> tuple[Any, Any]:
        """As `thrown`, with one of them hung again."""
        try:
            self.gallery.restore(id or "")
        except REFUSED as error:
            gr.Warning(str(error))
        return self.thrown()

    def emptied(self) -> tuple[Any, Any]:
        """As `thrown`, with nothing left."""
        self.gallery.empty_trash()
        return self.thrown()

    def varied(self, id: str | None, amount: int | float) -> list[Order]:
        """Orders of variations of a picture."""
        return variations(self.gallery.open(id or ""), self.desk.models, amount)

    def replayed(self, id: str | None) -> list[Order]:
        """The order that draws a picture again."""
        return [again(self.gallery.open(id or ""), self.desk.models)]

    def told_again(self, id: str | None, current: str | None) -> str:
        """Whether the picture that was drawn again is the same."""
        try:
            drawn = self.desk.job(current or "").drawn
            return note(said_again(self.gallery.open(id or ""), drawn[0].path)) if drawn else ""
        except (LookupError, PictureError):
            return ""


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
    ids, number, current, first = gr.State([]), gr.State(0), gr.State(None), gr.State(None)
    with gr.Row():
        words = gr.Textbox(label="Search the prompts", placeholder="raven dusk", elem_id="search", scale=3)
        said = gr.Textbox(label="Here", interactive=False, scale=2, elem_id="listed")
        newer = gr.Button("Newer", size="sm", min_width=80)
        older = gr.Button("Older", size="sm", min_width=80)
        fresh = gr.Button("Look again", size="sm", min_width=100)
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            grid = gr.Gallery(
                label="Pictures, newest first",
                columns=4,
                fit_columns=False,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="gallery",
            )
        with gr.Column(scale=2, min_width=300, visible=False, elem_id="opened") as panel:
            shown = gr.HTML(elem_classes="stage-box")
            parts = gr.CheckboxGroup(list(ALL), value=list(ALL), label="What to reuse")
            with gr.Row():
                reuse = gr.Button("Reuse", variant="primary", elem_id="reuse", min_width=100)
                edit = gr.Button("Edit", min_width=80)
                delete = gr.Button("Move to trash", elem_id="delete", min_width=110)
            with gr.Row():
                vary = gr.Button("Vary", elem_id="vary", min_width=80)
                amount = gr.Slider(0.01, 1, AMOUNT, step=0.01, label="By so much", min_width=140)
                replay = gr.Button("Draw it again", elem_id="replay", min_width=110)
            with gr.Row():
                remember = gr.Button("Remember to compare", min_width=140)
                compare = gr.Button("Compare with it", elem_id="compare", min_width=120)
            stage = Stage(gr.HTML(""), gr.HTML("", elem_classes="unseen"), gr.State(None), shared.jobs)
            same = gr.HTML("")
    slider = gr.ImageSlider(
        label="Left the one that was remembered, right the other",
        visible=False,
        type="filepath",
        interactive=False,
        elem_id="compared",
    )
    with gr.Accordion("A picture from elsewhere", open=False):
        drop = gr.File(label="Drop a picture with a recipe: inkpunk's or another program's", type="filepath")
        told = gr.HTML("")
        take = gr.Button("Reuse its recipe", visible=False)
    with gr.Accordion("Trash", open=False) as bin:
        thrown = gr.Dropdown([], label="In the trash")
        said_of = gr.Markdown("")
        with gr.Row():
            restore = gr.Button("Put it back", min_width=100)
            empty = gr.Button("Delete all in the trash for good", variant="stop", min_width=160)

    listed = [grid, ids, number, said]
    nothing: gr.State = gr.State(None)

    def newest(told: str | None) -> tuple[Any, ...]:
        return room.listed(told or "", 0)

    def turned(told: str | None, at: int, by: int) -> tuple[Any, ...]:
        return room.listed(told or "", at + by)

    back, on = gr.State(-1), gr.State(1)
    words.submit(newest, words, listed, **LOOKING)
    fresh.click(newest, words, listed, **LOOKING)
    newer.click(turned, [words, number, back], listed, **LOOKING)
    older.click(turned, [words, number, on], listed, **LOOKING)

    def come(told: str | None, at: int, chosen: gr.SelectData) -> tuple[Any, ...]:
        return (
            room.listed(told or "", at) if chosen.value == GALLERY.capitalize() else (stays(),) * len(listed)
        )

    shared.tabs.select(come, [words, number], listed, **LOOKING)
    grid.select(room.opened, ids, [shown, current, panel], **LOOKING)
    reuse.click(room.reused, [current, nothing, parts], [shared.tabs, *shared.components], **LOOKING)
    everything: gr.State = gr.State(list(ALL))
    take.click(room.reused, [nothing, drop, everything], [shared.tabs, *shared.components], **LOOKING)
    edit.click(room.edited, current, [shared.tabs, shared.edited], **LOOKING)
    delete.click(room.deleted, [current, words, number], [panel, current, *listed], **LOOKING)

    def remembered(id: str | None) -> str | None:
        return id

    remember.click(remembered, current, first, **LOOKING)
    compare.click(room.compared, [first, current], slider, **LOOKING)
    drop.change(room.dropped, drop, [told, take], **LOOKING)
    bin.expand(room.thrown, None, [thrown, said_of], **LOOKING)
    restore.click(room.restored, thrown, [thrown, said_of], **LOOKING)
    empty.click(room.emptied, None, [thrown, said_of], **LOOKING)

    def draws(orders_of: Callable[..., list[Order]]) -> Callable[..., AsyncIterator[Shown]]:
        async def draw(request: gr.Request, known: list[str] | None, *asked: Any) -> AsyncIterator[Shown]:
            turn = stage.turns.take(request.session_hash)
            try:
                orders = await asyncio.to_thread(orders_of, *asked)
            except REFUSED as error:
                yield stage.refused(error)
                return
            async for each in stage.drawn(desk, turn, known or [], orders):
                yield each

        return draw

    vary.click(draws(room.varied), [shared.jobs, current, amount], stage.outputs, **QUIET)
    replay.click(draws(room.replayed), [shared.jobs, current], stage.outputs, **QUIET).then(
        room.told_again, [current, stage.current], same, **LOOKING
    )


def note(text: str) -> str:
    """A line that is said."""
    return f'<p class="note" role="status">{escape(text)}</p>'


def problem(error: object) -> str:
    """Why there is nothing to see."""
    return f'<p class="note problem" role="alert">{escape(str(error))}</p>'
