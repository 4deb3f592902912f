"""The tab Models: which are there, what is wrong with one, another to draw with, more from the hub, adapters."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from html import escape
from typing import Any

import gradio as gr
from gradio.events import Dependency
from inkpunk.models.hub_errors import HubError
from inkpunk.orders.values import OrderError

from inkpunk_studio.page.adapters import adapter_choice, with_adapter
from inkpunk_studio.page.shared import DRAW, MODELS, Shared, opens, stays
from inkpunk_studio.page.weights import Fetching, what_adapter, what_it_is
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.models import Known, Models

QUIET: dict[str, Any] = {"show_progress": "hidden"}


def models_tab(desk: Desk, settings: Settings, shared: Shared) -> Dependency:
    """Fill the tab Models.

    Args:
        desk: that draws with them.
        settings: which folders they are in.
        shared: what the tabs share.

    Returns:
        The event after which another model may be the current one.
    """
    listed = gr.HTML(table(desk.models.known(), desk.models.current))
    with gr.Row(elem_classes="level"):
        chosen = gr.Dropdown(
            [each.name for each in desk.models.known()],
            value=desk.models.current,
            label="Model",
            elem_id="one-model",
            scale=2,
        )
        use = gr.Button("Use", variant="primary", elem_id="use-model", min_width=110)
        inspect = gr.Button("Inspect", elem_id="inspect-model", min_width=110)
    report = gr.Textbox(
        label="What the file holds, and what is wrong with it",
        lines=4,
        interactive=False,
        elem_id="model-report",
    )
    shown = [listed, chosen]
    with gr.Accordion("Download from Hugging Face", open=False):
        _download(desk, settings, shown)
    with gr.Accordion("Adapters", open=False) as accordion:
        _adapters(desk.models, accordion, shared)

    def come(opened: gr.SelectData) -> tuple[Any, ...]:
        return listing(desk.models) if opens(opened, MODELS) else (stays(),) * len(shown)

    def look(name: str | None) -> str:
        try:
            return what_it_is(desk.models, name or "")
        except OrderError as error:
            return str(error)

    shared.tabs.select(come, None, shown, **QUIET)
    inspect.click(look, chosen, report, **QUIET)
    return use.click(partial(used, desk.models), chosen, shown, **QUIET)


def _download(desk: Desk, settings: Settings, shown: list[Any]) -> None:
    gr.Markdown(
        "This leaves your machine: it asks huggingface.co for the model that you name, and for no more.",
        elem_classes="hint",
    )
    with gr.Row(elem_classes="level"):
        wanted = gr.Textbox(
            label="Model id", placeholder="Envvi/Inkpunk-Diffusion", elem_id="hub-name", scale=2
        )
        get = gr.Button("Download", elem_id="fetch-model", min_width=110)
    coming = gr.Textbox(label="Progress", interactive=False, elem_id="coming")

    async def fetched(name: str) -> AsyncIterator[tuple[Any, ...]]:
        unchanged = (stays(),) * len(shown)
        try:
            lines = Fetching(name, settings).progress()
        except HubError as error:
            yield (str(error), *unchanged)
            return
        while (line := await asyncio.to_thread(next, lines, None)) is not None:
            yield (line, *unchanged)
        yield (stays(), *listing(desk.models))

    get.click(fetched, wanted, [coming, *shown], **QUIET)


def _adapters(models: Models, accordion: gr.Accordion, shared: Shared) -> None:
    adapter, weight = adapter_choice(models, accordion, "one")
    told = gr.Textbox(label="What the adapter is", lines=4, interactive=False, elem_id="adapter-report")
    add = gr.Button("Add it to Draw", elem_id="add-adapter")
    lines = next(each for each in shared.fields if each.name == "lora")

    def tell(name: str | None) -> str:
        return what_adapter(models, name) if name else ""

    def added(before: str | None, name: str | None, much: int | float) -> tuple[Any, ...]:
        return shared.opened(DRAW), with_adapter(before, name, much)

    adapter.change(tell, adapter, told, **QUIET)
    add.click(added, [lines.component, adapter, weight], [shared.tabs, lines.component], **QUIET)


def listing(models: Models) -> tuple[Any, Any]:
    """The table, and the choice."""
    known = models.known()
    return table(known, models.current), gr.Dropdown(choices=[each.name for each in known])


def used(models: Models, name: str | None) -> tuple[Any, Any]:
    """As `listing`, with another model to draw with."""
    try:
        models.use(name or "")
    except OrderError as error:
        gr.Warning(str(error))
    return listing(models)


def table(known: tuple[Known, ...], current: str) -> str:
    """The models that are there."""
    rows = "".join(_row(each, in_use=each.name == current) for each in known)
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Model", "", "Hash", "Size"))
    return f'<table class="models"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(model: Known, *, in_use: bool) -> str:
    cells = escape(model.name), "in use" if in_use else "", escape(model.hash or ""), size(model.bytes)
    return "<tr>" + "".join(f"<td>{each}</td>" for each in cells) + "</tr>"


def size(count: int | None) -> str:
    """Bytes as people read them; nothing where they are not known."""
    if count is None:
        return ""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
