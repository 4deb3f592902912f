"""A page that is opened again: what this browser asked for is there, and goes on."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from inkpunk_studio.page.draw import DrawTab, models_anew
from inkpunk_studio.page.drawing import QUIET, Shown, Stage, latest
from inkpunk_studio.page.edit import EditTab
from inkpunk_studio.page.grids import GridsTab
from inkpunk_studio.page.shared import Shared, stays
from inkpunk_studio.page.turns import Turn
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job

Follow = Callable[[Desk, Turn, Job], AsyncIterator[Shown]]

NOT_TAKEN_UP = ("seed", "model")
"""What a reopened page leaves open: the next picture shall be another, by whichever model is the current one."""


def reopened(
    page: gr.Blocks, desk: Desk, draw: DrawTab, edit: EditTab, grids: GridsTab, shared: Shared
) -> None:
    """Have a page that is loaded pick up the jobs that its browser knows."""

    def filled(known: list[str] | None) -> list[Any]:
        job = latest(desk, known or [])
        if job is None:
            return [stays()] * len(shared.components)
        kept = {each.name for each in shared.fields} - {*NOT_TAKEN_UP}
        return shared.filled(job.orders[0].values, only=kept)

    page.load(
        lambda: models_anew(desk), None, [draw.field("model").component, draw.typing], show_progress="hidden"
    )
    page.load(filled, shared.jobs, shared.components, show_progress="hidden")
    for stage, follow in (
        (draw.stage, draw.stage.followed),
        (edit.stage, edit.stage.followed),
        (grids.stage, grids.followed),
    ):
        page.load(_picking_up(desk, stage, follow), shared.jobs, stage.outputs, **QUIET)


def _picking_up(desk: Desk, stage: Stage, follow: Follow) -> Callable[..., AsyncIterator[Shown]]:
    async def picked_up(request: gr.Request, known: list[str] | None) -> AsyncIterator[Shown]:
        job = latest(desk, known or [], stage.client)
        if job is None:
            yield (stays(),) * len(stage.outputs)
            return
        turn = stage.turns.take(request.session_hash)
        yield stage.at_rest(job)
        async for shown in follow(desk, turn, job):
            yield shown

    return picked_up
