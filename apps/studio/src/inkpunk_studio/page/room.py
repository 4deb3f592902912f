"""What the tab Gallery's events do: open a picture, reuse it, vary it, draw it again, compare two, delete one."""

from pathlib import Path
from typing import Any

import gradio as gr
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.pictures.facts import PictureError

from inkpunk_studio.gallery.gallery import Gallery
from inkpunk_studio.gallery.recipes import Opened, open_picture
from inkpunk_studio.gallery.shelf import NoSuchPictureError
from inkpunk_studio.page.looking import again, page_of, pages, said_again, tiles, variations
from inkpunk_studio.page.recipe import ALL, card, names_of, values_here
from inkpunk_studio.page.shared import DRAW, EDIT, Shared, stays
from inkpunk_studio.page.stage import note, warning
from inkpunk_studio.work.desk import Desk

REFUSED = (NoSuchPictureError, PictureError, OrderError, OSError)
"""What pictures of a folder that changes raise."""


class Room:
    """A gallery, and a desk that draws more of the kind."""

    def __init__(self, desk: Desk, gallery: Gallery, shared: Shared) -> None:
        """Say which ones.

        Args:
            desk: where pictures are asked for.
            gallery: that is looked at.
            shared: what the tabs share.
        """
        self.desk, self.gallery, self.shared = desk, gallery, shared

    def listed(self, words: str | None, number: int) -> tuple[Any, ...]:
        """The grid, the ids in it, the page's number, and what is said of it."""
        hung = self.gallery.pictures(words or "")
        shown, number = page_of(hung, number)
        seen, ids = tiles(self.gallery, shown)
        many = "1 picture" if len(hung) == 1 else f"{len(hung):,} pictures"
        where = f", page {number + 1} of {pages(len(hung))}" if pages(len(hung)) > 1 else ""
        return gr.Gallery(value=seen, selected_index=None), ids, number, note(many + where)

    def opened(self, ids: list[str], chosen: gr.SelectData) -> tuple[Any, ...]:
        """The card, the picture's id, and the panel."""
        id = ids[chosen.index] if isinstance(chosen.index, int) and chosen.index < len(ids) else ""
        try:
            return card(self.gallery.open(id), self.desk.models), id, gr.Column(visible=True)
        except REFUSED as error:
            return warning(error), None, gr.Column(visible=False)

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
        """The card of a picture from elsewhere, and its button."""
        if path is None:
            return "", gr.Button(visible=False)
        try:
            opened = open_picture(Path(path))
        except PictureError as error:
            # where an upload lies is nobody's business
            return warning(str(error).replace(path, Path(path).name)), gr.Button(visible=False)
        return card(opened, self.desk.models, shown=False), gr.Button(visible=bool(opened.values))

    def compared(self, first: str | None, id: str | None) -> Any:
        """The slider, with two pictures under it."""
        try:
            pair = str(self.gallery.picture(first or "").path), str(self.gallery.picture(id or "").path)
        except NoSuchPictureError:
            gr.Warning("Mark one picture first, and then open another.")
            return stays()
        return gr.ImageSlider(value=pair, visible=True)

    def deleted(self, id: str | None, words: str | None, number: int) -> tuple[Any, ...]:
        """The panel, and the list without the picture, which is in the trash."""
        try:
            gone = self.gallery.delete(id or "")
            gr.Info(f"{gone.name} is in the trash.")
        except REFUSED as error:
            gr.Warning(str(error))
        return (gr.Column(visible=False), None, *self.listed(words, number))

    def thrown(self) -> tuple[Any, Any]:
        """The choice of what is in the trash, and what is said of it."""
        there = self.gallery.trashed()
        many = "The trash is empty." if not there else f"{len(there):,} in the trash."
        return gr.Dropdown(choices=[(each.name, each.id) for each in there], value=None), note(many)

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
