"""Drawing while one types: a picture for each pause, and none but the last is kept."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from inkpunk.orders.values import OrderError

from inkpunk_studio.page.drawing import Shown, Stage, forget, stop
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.shared import TYPING, stays
from inkpunk_studio.page.turns import Turn
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import NoSuchJobError

PAUSE = 0.25  # seconds without a key before what was typed is drawn: shorter than the pause between two words
SEED = 0
"""One for all: a word more changes the picture, chance does not."""


async def drawn_live(
    desk: Desk, stage: Stage, turn: Turn, asked: Mapping[str, object]
) -> AsyncIterator[Shown]:
    """Draw what was typed, unless somebody types on; the picture before it is given up at once.

    Args:
        desk: that draws.
        stage: where it is shown.
        turn: of the key.
        asked: by the names of options.
    """
    if not stage.turns.is_newest(turn):
        return
    await asyncio.to_thread(stop, desk, stage.turns.typed(turn))
    await asyncio.sleep(PAUSE)
    if not stage.turns.may_draw(turn):
        if stage.turns.is_newest(turn):  # so that somebody has said stop
            with suppress(NoSuchJobError):
                yield stage.at_rest(desk.job(stage.turns.typed(turn) or ""))
        return
    former = stage.turns.take_typed(turn)
    try:
        await asyncio.to_thread(stop, desk, former)  # one that was asked for meanwhile
        orders = orders_of({"seed": SEED, **asked}, 1, 1)
        async for picture, status, current, _ in stage.drawn(desk, turn, [], orders, client=TYPING):
            if isinstance(current, str):
                stage.turns.note_typed(turn, current)
                if not stage.turns.may_draw(turn):  # since it was asked for
                    await asyncio.to_thread(stop, desk, current)
            yield picture, status, current, stays()
    except OrderError as error:
        yield stage.refused(error)
    finally:
        forget(desk, former)
