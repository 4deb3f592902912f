"""The tab Models: which are there, what is wrong with one, another to draw with, more from the hub, adapters."""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr
from inkpunk.models.hub_errors import HubError
from inkpunk.orders.values import OrderError

from inkpunk_studio.page.shared import DRAW, Shared, stays
from inkpunk_studio.page.weights import Fetching, adapters_in, what_adapter, what_it_is
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.models import Known, Models

TITLE = "Models"
QUIET: dict[str, Any] = {"show_progress": "hidden"}


def models_tab(desk: Desk, settings: Settings, shared: Shared) -> None:
    """Fill the tab Models.

    Args:
        desk: that draws with them.
        settings: which folders they are in.
        shared: what the tabs share.
    """
    folder = settings.choice.lora_folder
    names = [each.name for each in desk.models.known()]
    listed = gr.HTML(table(desk.models.known(), desk.models.current))
    with gr.Row():
        chosen = gr.Dropdown(names, value=desk.models.current, label="Model", elem_id="one-model", scale=2)
        use = gr.Button("Draw with it", variant="primary", elem_id="use-model", min_width=110)
        inspect = gr.Button("What is it?", elem_id="inspect-model", min_width=110)
    report = gr.Textbox(label="What it is, and what is wrong with it", lines=4, interactive=False)
    with gr.Accordion("Fetch one from the Hugging Face hub", open=False):
        gr.Markdown(
            "This leaves your machine: it asks huggingface.co for the model that you name, and for no more."
        )
        with gr.Row():
            wanted = gr.Textbox(label="Its name there", placeholder="Envvi/Inkpunk-Diffusion", scale=2)
            get = gr.Button("Fetch it", elem_id="fetch-model", min_width=110)
        coming = gr.Textbox(label="How far it is", interactive=False)
    with gr.Accordion("Adapters", open=False):
        adapter = gr.Dropdown(adapters_in(folder), label="Adapter", value=None, elem_id="one-adapter")
        if folder is None:
            gr.Markdown("Start the studio with `--lora-folder FOLDER` to have some here.")
        weight = gr.Slider(-2, 2, 0.8, step=0.05, label="Weight of the adapter")
        told = gr.Textbox(label="What the adapter is", lines=4, interactive=False)
        add = gr.Button("Add it to Draw", elem_id="add-adapter")

    shown = [listed, chosen]

    def come(opened: gr.SelectData) -> tuple[Any, ...]:
        return listing(desk.models) if opened.value == TITLE else (stays(),) * len(shown)

    def look(name: str | None) -> str:
        try:
            return what_it_is(desk.models, name or "")
        except OrderError as error:
            return str(error)

    def taken(name: str | None) -> tuple[Any, ...]:
        return (*used(desk.models, name), *shared.filled({}, ["model"]))

    def fetched(name: str) -> Iterator[tuple[Any, ...]]:
        try:
            for line in Fetching(name, settings).progress():
                yield (line, *(stays(),) * len(shown))
        except HubError as error:
            yield (str(error), *(stays(),) * len(shown))
            return
        yield (stays(), *listing(desk.models))

    shared.tabs.select(come, None, shown, **QUIET)
    use.click(taken, chosen, [*shown, *shared.components], **QUIET)
    inspect.click(look, chosen, report, **QUIET)
    get.click(fetched, wanted, [coming, *shown], **QUIET)

    def tell(name: str | None) -> str:
        return what_adapter(folder, name) if name else ""

    def added(lines: str | None, name: str | None, much: int | float) -> tuple[Any, ...]:
        return shared.opened(DRAW), with_adapter(lines, name, much)

    adapter.change(tell, adapter, told, **QUIET)
    loras = next((each for each in shared.fields if each.name == "lora"), None)
    if loras is not None:
        add.click(
            added,
            [loras.component, adapter, weight],
            [shared.tabs, loras.component],
            **QUIET,
        )


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


def with_adapter(lines: str | None, name: str | None, weight: int | float) -> str:
    """Draw's lines of adapters, with one more, or with its weight told anew."""
    before = [each for each in (lines or "").splitlines() if each.strip()]
    if not name:
        return "\n".join(before)
    others = [each for each in before if each.partition(":")[0].strip() != name]
    return "\n".join([*others, f"{name}:{weight:g}"])


def table(known: tuple[Known, ...], current: str) -> str:
    """The models that are there."""
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{'drawing with it' if each.name == current else ''}</td>"
        f"<td>{escape(each.hash or '')}</td><td>{size(each.bytes)}</td></tr>"
        for each in known
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("Model", "In use", "Hash", "Size"))
    return f'<table class="models"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def size(count: int | None) -> str:
    """Bytes as people read them; nothing where they are not known."""
    if count is None:
        return ""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
