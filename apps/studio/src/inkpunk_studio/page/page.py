"""The page: all its tabs, and how it is put into the application."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from inkpunk_studio.page.draw import DrawTab, draw_tab
from inkpunk_studio.page.drawing import drawn_picture
from inkpunk_studio.page.edit import EditTab, edit_tab
from inkpunk_studio.page.queue import TITLE as QUEUE_TITLE
from inkpunk_studio.page.queue import queue_tab
from inkpunk_studio.page.reopening import reopened
from inkpunk_studio.page.shared import DRAW, EDIT, GALLERY, GRIDS, MODELS, QUEUE, Shared
from inkpunk_studio.page.theme import theme
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

HERE = Path(__file__).parent
ROOMS = {GALLERY: "Gallery", GRIDS: "Grids", MODELS: "Models"}
"""Tabs with a file of their own, `NAME.py`, whose `NAME_tab(desk, settings, shared)` fills them."""
JOBS = "inkpunk-jobs"
"""What the ids of a browser's jobs are called in its storage. They are no secret from who sits there."""


def build(desk: Desk, settings: Settings) -> gr.Blocks:
    """Make the page.

    Args:
        desk: where it asks for pictures.
        settings: what may be asked.
    """
    with gr.Blocks(title="inkpunk", analytics_enabled=False, fill_width=True) as page:
        gr.HTML('<h1 class="name">inkpunk</h1>', elem_classes="head")
        jobs = gr.BrowserState([], storage_key=JOBS, secret=JOBS)
        with gr.Tabs(selected=DRAW, elem_id="tabs") as tabs:
            with gr.Tab("Draw", id=DRAW):
                draw = draw_tab(desk, settings, jobs)
            with gr.Tab("Edit", id=EDIT):
                edit = edit_tab(desk, settings, jobs, draw.fields)
            shared = Shared(tabs, draw.fields, edit.editor, jobs)
            for name, title in ROOMS.items():
                if find_spec(f"inkpunk_studio.page.{name}"):
                    with gr.Tab(title, id=name):
                        getattr(import_module(f"inkpunk_studio.page.{name}"), f"{name}_tab")(
                            desk, settings, shared
                        )
            with gr.Tab(QUEUE_TITLE, id=QUEUE):
                queue_tab(desk, tabs)
        _to_edit(desk, draw, edit, shared)
        reopened(page, desk, draw, edit, shared)
    return page


def mount(app: FastAPI, desk: Desk, settings: Settings) -> FastAPI:
    """Put the page at the application's root, with its looks and its keys."""
    return gr.mount_gradio_app(  # pyright: ignore[reportUnknownMemberType]
        app,
        build(desk, settings),
        path="/",
        theme=theme(),
        css_paths=HERE / "style.css",
        head=f"<script>{(HERE / 'keys.js').read_text(encoding='utf-8')}</script>",
        allowed_paths=[str(settings.pictures.resolve())],
        max_file_size=settings.most_body,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )


def _to_edit(desk: Desk, draw: DrawTab, edit: EditTab, shared: Shared) -> None:
    prompt = next(each.component for each in draw.fields if each.name == "prompt")

    def to_edit(current: str | None, words: str) -> tuple[gr.Tabs, Any, str]:
        return shared.opened(EDIT), drawn_picture(desk, current), words

    draw.to_edit.click(
        to_edit,
        [draw.stage.current, prompt],
        [shared.tabs, edit.editor, edit.prompt.component],
        show_progress="hidden",
    )
