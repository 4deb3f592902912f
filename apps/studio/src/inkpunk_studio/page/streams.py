"""A page's stream of events, closed so that no event is lost.

Gradio's server closes it when nothing is under way, and its page opens another with the next event that it asks for.
But one that is asked for before the page has heard of the closing is answered into the old stream, which the page is
about to leave: it hears of that event when it next asks for something, or never. So the answer waits until it has
left.
"""

import json
from contextlib import suppress

import anyio
from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STREAM, ASKING = "/queue/data", "/queue/join"
CLOSING = b'"msg":"close_stream"'
PATIENCE = 2.0  # seconds in which a page leaves a stream that it was told is closed, or is not there any more


class Streams:
    """An application of Gradio's, whose pages hear of all that they ask for."""

    def __init__(self, app: ASGIApp) -> None:
        """Know of no page yet."""
        self._app = app
        self._closing: dict[str, anyio.Event] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, when it is time."""
        path: str = scope["path"] if scope["type"] == "http" else ""
        if path.endswith(STREAM):
            await self._stream(scope, receive, send)
        elif path.endswith(ASKING):
            await self._ask(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = QueryParams(scope["query_string"]).get("session_hash", "")
        left: anyio.Event | None = None

        async def tell(message: Message) -> None:
            nonlocal left
            if left is None and CLOSING in message.get("body", b""):
                left = self._closing[session] = anyio.Event()
            elif left is not None and not message.get("more_body"):
                with anyio.move_on_after(PATIENCE):
                    while (await receive())["type"] != "http.disconnect":
                        pass
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            if left is not None:
                left.set()
                if self._closing.get(session) is left:
                    del self._closing[session]

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()

        async def read() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def tell(message: Message) -> None:
            while self._closing and (left := self._closing.get(_session(body))) is not None:
                await left.wait()
            await send(message)

        await self._app(scope, read, tell)


def _session(body: bytearray) -> str:
    """The page that asks, as it calls itself."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return str(json.loads(body)["session_hash"])
    return ""
