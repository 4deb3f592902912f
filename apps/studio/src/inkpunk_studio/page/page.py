"""The page: all its tabs, and how it is put into the application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import gradio as gr
import httpx
from fastapi import FastAPI
from starlette.routing import Mount

from inkpunk_studio.importing import without_servers
from inkpunk_studio.page.assembling import Assembler
from inkpunk_studio.page.draw import DrawTab, draw_tab, models_anew
from inkpunk_studio.page.drawing import drawn_picture
from inkpunk_studio.page.edit import EditTab, edit_tab
from inkpunk_studio.page.gallery import gallery_tab
from inkpunk_studio.page.grids import grids_tab
from inkpunk_studio.page.kept import Kept
from inkpunk_studio.page.models import models_tab
from inkpunk_studio.page.queue import queue_tab
from inkpunk_studio.page.reopening import reopened
from inkpunk_studio.page.shared import DRAW, EDIT, GALLERY, GRIDS, MODELS, QUEUE, TITLES, Shared
from inkpunk_studio.page.streams import Streams
from inkpunk_studio.page.theme import theme
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

HERE = Path(__file__).parent
JOBS = "inkpunk-jobs"
"""What the ids of a browser's jobs are called in its storage. They are no secret from who sits there."""


def build(desk: Desk, settings: Settings, assembler: Assembler) -> gr.Blocks:
    """Make the page.

    Args:
        desk: where it asks for pictures.
        settings: what may be asked.
        assembler: that puts grids together.
    """
    with without_servers(), gr.Blocks(title="inkpunk", analytics_enabled=False, fill_width=True) as page:
        gr.HTML('<h1 class="name">inkpunk</h1>', elem_classes="head")
        jobs = gr.BrowserState([], storage_key=JOBS, secret=JOBS)
        with gr.Tabs(selected=DRAW, elem_id="tabs") as tabs:
            with _tab(DRAW):
                draw = draw_tab(desk, settings, jobs)
            with _tab(EDIT):
                edit = edit_tab(desk, settings, jobs, draw.fields)
            shared = Shared(tabs, draw.fields, edit.editor, jobs)
            with _tab(GALLERY):
                gallery_tab(desk, settings, shared)
            with _tab(GRIDS):
                grids = grids_tab(desk, settings, shared, assembler)
            with _tab(MODELS):
                used = models_tab(desk, settings, shared)
            with _tab(QUEUE):
                queue_tab(desk, tabs)
        used.then(
            lambda: models_anew(desk),
            None,
            [draw.field("model").component, draw.typing],
            show_progress="hidden",
        )
        _to_edit(desk, draw, edit, shared)
        reopened(page, desk, draw, edit, grids, shared)
    return page


def mount(app: FastAPI, desk: Desk, settings: Settings) -> FastAPI:
    """Put the page at the application's root, with its looks and its keys; unfinished grids go on at the start."""
    assembler, life = Assembler(desk, settings.state), app.router.lifespan_context

    @asynccontextmanager
    async def with_grids(app: FastAPI) -> AsyncGenerator[Any]:
        async with life(app) as state:
            await anyio.to_thread.run_sync(assembler.take_up)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_written, app, settings)
                yield state

    app.router.lifespan_context = with_grids
    app = gr.mount_gradio_app(  # pyright: ignore[reportUnknownMemberType]
        app,
        build(desk, settings, assembler),
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
    mounted = app.router.routes[-1]
    assert isinstance(mounted, Mount)  # behind the guard, which is around all routes
    mounted.app = Kept(Streams(mounted.app))
    return app


async def _written(app: FastAPI, settings: Settings) -> None:
    """Have the page written before the first visit, at the address that the studio tells."""
    shown = {} if settings.token is None else {"authorization": f"Bearer {settings.token}"}
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    there = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url=f"http://{host}:{settings.port}",
        headers=shown,
    )
    async with there as visitor:
        await visitor.get("/")


def _tab(id: str) -> gr.Tab:
    return gr.Tab(TITLES[id], id=id)


def _to_edit(desk: Desk, draw: DrawTab, edit: EditTab, shared: Shared) -> None:
    def to_edit(current: str | None, words: str) -> tuple[gr.Tabs, Any, str]:
        return shared.opened(EDIT), drawn_picture(desk, current), words

    draw.to_edit.click(
        to_edit,
        [draw.stage.current, draw.field("prompt").component],
        [shared.tabs, edit.editor, edit.prompt.component],
        show_progress="hidden",
    )
