"""What the tabs share: the fields of Draw and Edit, which a recipe can fill."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from inkpunk.orders.values import Value

from inkpunk_studio.page.fields import Field

DRAW, EDIT, GALLERY, GRIDS, MODELS, QUEUE = "draw", "edit", "gallery", "grids", "models", "queue"
"""The ids of the tabs."""
TITLES: Mapping[str, str] = {
    DRAW: "Draw",
    EDIT: "Edit",
    GALLERY: "Gallery",
    GRIDS: "Grids",
    MODELS: "Models",
    QUEUE: "Queue",
}
"""What is written on them."""

DRAWING, TYPING, EDITING, GRID = "page", "typing", "page: edit", "page: grid"
"""As whom the page asks for pictures, so that a reopened page shows each job in its own tab."""


def stays() -> Any:
    """What an output becomes that stays as it is."""
    return gr.skip()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # Gradio's own


def opens(chosen: gr.SelectData, tab: str) -> bool:
    """Whether a tab is the one that was chosen."""
    return chosen.value == TITLES[tab]


@dataclass(frozen=True)
class Shared:
    """What other tabs may fill and read.

        reuse.click(lambda path: (shared.opened(DRAW), *shared.filled(recall(path).order.values)),
                    inputs=[path], outputs=[shared.tabs, *shared.components])

    Attributes:
        tabs: all tabs, to go to another one.
        fields: of Draw, in the order of `components`.
        edited: the editor of Edit's, which takes a picture as its value.
        jobs: a `gr.BrowserState` with the ids of jobs that this browser asked for, newest last; whoever submits one
            adds its id, so that Queue and a reopened page know it.
    """

    tabs: gr.Tabs
    fields: tuple[Field, ...]
    edited: gr.ImageEditor
    jobs: gr.BrowserState

    @property
    def components(self) -> list[Component]:
        """Those of the fields: inputs of an event that draws as Draw says, outputs of one that fills it."""
        return [each.component for each in self.fields]

    def filled(self, values: Mapping[str, Value], only: Collection[str] | None = None) -> list[Any]:
        """What `components` become from an order's values.

        Args:
            values: by the names of options; those that are not among them become open again.
            only: the names of options that are filled; all others stay as they are. None for all.
        """
        return [
            stays() if only is not None and each.name not in only else each.show(values.get(each.name))
            for each in self.fields
        ]

    def opened(self, tab: str) -> gr.Tabs:
        """What `tabs` becomes to show another of them, by its id."""
        return gr.Tabs(selected=tab)
