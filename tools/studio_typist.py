"""Somebody who types on the studio's page, as a browser tells it: each key has the prompt read, and drawn live."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

import httpx

BETWEEN_KEYS, BETWEEN_WORDS = 0.15, 0.6  # seconds; the page draws after a quarter of one without a key
READ, DRAWN = "as_read", "draw_typed"
"""What the page calls its events for each key."""


@dataclass
class Typist:
    """A page that is open.

    Attributes:
        client: of the studio.
        read: seconds that each key took until how the prompt is read was told.
        drawn: answers with a picture or a preview.
    """

    client: httpx.AsyncClient
    read: list[float] = field(default_factory=list[float])
    drawn: int = 0
    _session: str = field(default_factory=lambda: token_hex(6))
    _sent: dict[str, float] = field(default_factory=dict[str, float])
    _ended: dict[str, float] = field(default_factory=dict[str, float])
    _hearing: "asyncio.Task[None] | None" = None

    async def type(self, text: str) -> None:
        """Type a text, key by key, and wait until its last key is answered."""
        config = (await self.client.get("/config")).raise_for_status().json()
        values = {each["id"]: each["props"].get("value") for each in config["components"]}
        prompt = next(each["id"] for each in config["components"] if each["props"].get("elem_id") == "prompt")
        events = {each["api_name"]: each for each in config["dependencies"]}
        for end in range(1, len(text) + 1):
            values[prompt] = text[:end]
            for name in (DRAWN, READ):
                await self._tell(name, events[name], values)
            await asyncio.sleep(BETWEEN_WORDS if text[end - 1] == " " else BETWEEN_KEYS)
        if self._hearing is not None:
            await self._hearing
        self.read += [self._ended[each] - sent for each, sent in self._sent.items()]
        self._sent.clear()

    async def _tell(self, name: str, event: dict[str, Any], values: dict[int, Any]) -> None:
        data = [values[each] for each in event["inputs"]]
        body = {"data": data, "fn_index": event["id"], "session_hash": self._session}
        sent = time.perf_counter()
        told = (await self.client.post("/gradio_api/queue/join", json=body)).raise_for_status().json()
        if name == READ:
            self._sent[told["event_id"]] = sent
        if self._hearing is None or self._hearing.done():
            self._hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        """Hear what comes until nothing is open; the server then ends the stream."""
        where = {"session_hash": self._session}
        async with self.client.stream("GET", "/gradio_api/queue/data", params=where) as events:
            async for line in events.aiter_lines():
                if not line.startswith("data: "):
                    continue
                told = json.loads(line.removeprefix("data: "))
                if told["msg"] == "process_generating":
                    self.drawn += 1
                elif told["msg"] == "process_completed":
                    assert told["success"], told
                    # maybe before its sender knows its id
                    self._ended[told["event_id"]] = time.perf_counter()
