"""The application: the desk, the addresses that programs call, and the page."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import metadata

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from inkpunk_studio.importing import remembering_signatures, without_stubs, without_tools
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk


class Health(BaseModel):
    """How the studio is.

    Attributes:
        status: always "ok".
        ready: whether a model is loaded, so that a picture is drawn at once.
        model: the name of the model that is loaded, if any is.
        waiting: jobs in the queue.
    """

    status: str = "ok"
    ready: bool
    model: str | None
    waiting: int


def create_app(settings: Settings, desk: Desk | None = None, *, page: bool = True) -> FastAPI:
    """The studio as an ASGI application, which starts its desk, unless it is, and closes it when it ends.

    Args:
        settings: what it may do.
        desk: where pictures are asked for; a new one by default.
        page: whether there is a page, beside the addresses for programs.
    """
    # torch comes with them, and so after a desk may have begun
    from inkpunk_studio.http import a1111, guard, jobs, networks, openai

    held = Desk(settings) if desk is None else desk

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncGenerator[None]:
        if not held.is_open:
            await anyio.to_thread.run_sync(held.start)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(held.close)

    app = FastAPI(
        title="inkpunk studio",
        version=metadata.version("inkpunk-studio"),
        lifespan=life,
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
    )
    routers = (_health(held), *(each.router(held, settings) for each in (openai, a1111, jobs, networks)))
    for each in routers:
        # the routes themselves: `include_router` would have all of them made once more, by the first visit
        app.router.routes.extend(each.routes)
    guard.install(app, settings)
    if page:
        with without_stubs(), without_tools():
            from inkpunk_studio.page.page import mount
        with remembering_signatures():
            app = mount(app, held, settings)
    return app


def _health(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.get("/health", tags=["health"])
    async def health() -> Health:
        """Whether the studio is there; answered at once, also while it draws."""
        return Health(ready=desk.is_ready, model=desk.loaded, waiting=desk.waiting)

    return router
