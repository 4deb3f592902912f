"""The tab Edit: a picture that is given, and what becomes of it: a part anew, more around it, larger, or followed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from inkpunk.orders.values import OrderError
from inkpunk.pictures.canvas import SIDES

from inkpunk_studio.page.controls import PLACES, Followed, Seen, followed, given_picture, seen
from inkpunk_studio.page.draw import draw_and_stop
from inkpunk_studio.page.drawing import AT_ONCE, QUIET, Shown, Stage, drawn_picture, stop
from inkpunk_studio.page.fields import Field, field, told
from inkpunk_studio.page.given import Given
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.shared import EDITING
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

NOT_ENLARGED = "off"
FACTORS = (NOT_ENLARGED, "1.5", "2", "3", "4")


@dataclass(frozen=True)
class EditTab:
    """What other tabs take from Edit.

    Attributes:
        prompt: what the whole picture shows.
        editor: the picture, and the mask that is painted on it.
        stage: where the pictures come.
    """

    prompt: Field
    editor: gr.ImageEditor
    stage: Stage


@dataclass(frozen=True)
class Pictures:
    """The components of pictures that are given, and of what goes with each."""

    editor: gr.ImageEditor
    sides: tuple[gr.Number, ...]
    factor: gr.Dropdown
    followed: tuple[Followed, ...]
    seen: Seen
    placed: tuple[Component, ...]

    @property
    def components(self) -> list[Component]:
        """All, in the order in which `read` takes what they show."""
        told = [*(part for each in self.followed for part in each.components), *self.seen.components]
        return [self.editor, *self.sides, self.factor, *told, *self.placed]

    def read(self, shown: tuple[Any, ...], most_pixels: int) -> Given:
        """What is given, in pictures of at most so many pixels.

        Raises:
            OrderError: for what cannot be.
        """
        rest = iter(shown)
        given = Given(most_pixels)
        editor, sides, factor = next(rest), [next(rest) for _ in self.sides], next(rest)
        given.edited(editor)
        given.extended(dict(zip(SIDES, sides, strict=True)))
        for each in (*self.followed, self.seen):
            each.read(given, tuple(next(rest) for _ in each.components))
        words, where = (next(rest) for _ in self.placed)
        given.placed(words or "", where)
        if factor != NOT_ENLARGED:
            given.values["enlarge"] = factor
        return given


def edit_tab(desk: Desk, settings: Settings, jobs: gr.BrowserState, drawn_as: tuple[Field, ...]) -> EditTab:
    """Fill the tab Edit.

    Args:
        desk: that draws.
        settings: what may be asked.
        jobs: those that this browser asked for.
        drawn_as: Draw's fields, which say the rest: the model, the sampler, the steps, the seed.
    """
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="asking", min_width=280):
            prompt = field(
                "prompt",
                lines=3,
                max_lines=8,
                placeholder="what the whole picture shows",
                max_length=settings.most_prompt,
                elem_id="edit-prompt",
            )
            go, halt = draw_and_stop("edit")
        with gr.Column(elem_classes="picture", min_width=280):
            editor = _editor()
            stage = Stage.make("edit", jobs, EDITING)
            with gr.Row(elem_classes="after"):
                on = gr.Button("Edit the result", size="sm", elem_id="go-on", min_width=180)
        with gr.Column(elem_classes="settings", min_width=280):
            own = [field("strength", placeholder="0.75")]
            with gr.Accordion("Mask", open=False):
                own += [field(name) for name in ("masked-content", "only-masked")]
            with gr.Accordion("Extend", open=False), gr.Row():
                sides = [_side(side) for side in SIDES]
            with gr.Accordion("Enlarge", open=False):
                factor = gr.Dropdown(list(FACTORS), value=NOT_ENLARGED, label="Scale", elem_id="factor")
            control = tuple(followed(desk.models, place) for place in PLACES)
            prompted = seen(desk.models)
            with gr.Accordion("Regional prompt", open=False):
                words = gr.Textbox(label="Prompt of the region", max_length=settings.most_prompt)
                placed = (words, given_picture("Region: white where the prompt counts"))
            with gr.Accordion("More", open=False):
                own += [field(name) for name in ("guess", "resize", "match-colours", "keep-alpha")]
            gr.Markdown(
                "Model, sampler, steps, seed and all else are as Draw has them; the size, too, where no picture is "
                "edited, and one is followed, or seen, or has a prompt of its own.",
                elem_classes="hint",
            )
    pictures = Pictures(editor, tuple(sides), factor, control, prompted, placed)
    its_own = ("prompt", "enlarge", *(each.name for each in own))
    fields = (prompt, *own, *(each for each in drawn_as if each.name not in its_own))
    shown = [each.component for each in fields]

    async def draw(request: gr.Request, known: list[str] | None, *values: Any) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash)
        count = len(pictures.components)
        try:
            given = await asyncio.to_thread(pictures.read, values[:count], settings.most_pixels)
            orders = orders_of(given.asked_with(told(fields, values[count:])), 1, 1)
        except OrderError as error:
            yield stage.refused(error)
            return
        async for each in stage.drawn(desk, turn, known or [], orders, given.attachments):
            yield each

    go.click(draw, [jobs, *pictures.components, *shown], stage.outputs, **QUIET)
    halt.click(partial(stop, desk), stage.current, None, **AT_ONCE)
    on.click(partial(drawn_picture, desk), stage.current, editor, show_progress="hidden")
    return EditTab(prompt, editor, stage)


def _editor() -> gr.ImageEditor:
    pink = "#ff3d7fcc"
    return gr.ImageEditor(
        type="pil",
        image_mode="RGBA",
        format="png",
        label="Picture: paint over what is to be redrawn",
        sources=("upload", "clipboard"),
        transforms=(),
        layers=False,
        brush=gr.Brush(default_size=24, colors=[pink], default_color=pink, color_mode="fixed"),
        buttons=["fullscreen"],
        elem_id="editor",
    )


def _side(side: str) -> gr.Number:
    return gr.Number(0, precision=0, minimum=0, step=8, label=f"{side.capitalize()}, pixels", min_width=110)
