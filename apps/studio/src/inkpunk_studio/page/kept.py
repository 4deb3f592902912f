"""The page as it was first sent, kept: Gradio writes its 400 kB anew for each visit, the same every time."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    b"host",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-gradio-server",
    b"origin",
)
"""Those by which pages differ: they tell one where it is."""
ENCODINGS = b"accept-encoding"
MOST = 8  # of addresses that a page has


class Kept:
    """An application whose first page is kept, for each address that it is asked for at."""

    def __init__(self, app: ASGIApp) -> None:
        """Keep nothing yet."""
        self._app = app
        self._pages: dict[object, list[Message]] = {}

    def __len__(self) -> int:
        """How many pages are kept."""
        return len(self._pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if (key := _key(scope)) is None:
            await self._app(scope, receive, send)
            return
        if (page := self._pages.get(key)) is None:
            # packed for one reader it would be of no use to another, and packing takes longer than sending
            scope = {**scope, "headers": [each for each in scope["headers"] if each[0] != ENCODINGS]}
            page = list[Message]()

            async def note(message: Message) -> None:
                page.append(message)

            await self._app(scope, receive, note)
            if page[0].get("status") == 200:
                while len(self._pages) >= MOST:
                    self._pages.pop(next(iter(self._pages)))
                self._pages[key] = page
        for message in page:
            await send(message)


def _key(scope: Scope) -> object | None:
    """What a page differs by; None for what is not kept."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/" or scope["query_string"]:
        return None
    headers: Mapping[bytes, Any] = dict(scope["headers"])
    return scope["scheme"], scope.get("root_path"), *(headers.get(name) for name in HEADERS)
