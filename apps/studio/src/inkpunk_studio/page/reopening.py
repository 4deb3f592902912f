"""A page that is opened again: what this browser asked for is there, and goes on."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from inkpunk_studio.page.draw import DrawTab, model_choices
from inkpunk_studio.page.drawing import QUIET, Shown, Stage, latest
from inkpunk_studio.page.edit import EDITING, EditTab
from inkpunk_studio.page.shared import Shared, stays
from inkpunk_studio.work.desk import Desk

NOT_TAKEN_UP = ("seed", "model")
"""What a reopened page leaves open: the next picture shall be another, by whichever model is the current one."""


def reopened(page: gr.Blocks, desk: Desk, draw: DrawTab, edit: EditTab, shared: Shared) -> None:
    """Have a page that is loaded pick up the jobs that its browser knows."""

    def filled(known: list[str] | None) -> list[Any]:
        job = latest(desk, known or [])
        if job is None:
            return [stays()] * len(shared.components)
        kept = {each.name for each in shared.fields} - {*NOT_TAKEN_UP}
        return shared.filled(job.orders[0].values, only=kept)

    async def picked_up(
        stage: Stage, client: str, request: gr.Request, known: list[str] | None
    ) -> AsyncIterator[Shown]:
        job = latest(desk, known or [], client)
        if job is None:
            yield (stays(),) * len(stage.outputs)
            return
        turn = stage.turns.take(request.session_hash)
        yield stage.at_rest(job)
        if not job.is_over:
            async for shown in stage.followed(desk, turn, job):
                yield shown

    async def drawing(request: gr.Request, known: list[str] | None) -> AsyncIterator[Shown]:
        async for shown in picked_up(draw.stage, "page", request, known):
            yield shown

    async def editing(request: gr.Request, known: list[str] | None) -> AsyncIterator[Shown]:
        async for shown in picked_up(edit.stage, EDITING, request, known):
            yield shown

    model = next(each.component for each in draw.fields if each.name == "model")
    page.load(lambda: gr.Dropdown(choices=model_choices(desk)), None, model, show_progress="hidden")
    page.load(filled, shared.jobs, shared.components, show_progress="hidden")
    page.load(drawing, shared.jobs, draw.stage.outputs, **QUIET)
    page.load(editing, shared.jobs, edit.stage.outputs, **QUIET)
