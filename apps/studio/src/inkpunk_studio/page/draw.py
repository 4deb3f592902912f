"""The tab Draw: a prompt, a picture, and every option that may be asked for within reach."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from inkpunk.models.hub import SKETCH
from inkpunk.orders.options import FILE, MODEL, OPTIONS, REQUEST
from inkpunk.orders.values import OrderError, Value

from inkpunk_studio.page.drawing import QUIET, Shown, Stage, forget, seed_of, stop
from inkpunk_studio.page.fields import AS_USUAL, Field, field, told
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.reading import LANGUAGE, reading_of
from inkpunk_studio.page.shared import stays
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import PICTURE_OPTIONS
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.limits import ACCEPTED, NETWORKS

TYPED = 0.25  # seconds without a key before what was typed is drawn: shorter than the pause between two words
TYPING = "typing"
"""As whom the page asks for what is drawn while one types."""
IN_SIGHT = ("prompt", "negative", "model", "sampler", "steps", "guidance", "width", "height", "seed")
OF_EDIT = (
    *PICTURE_OPTIONS,
    *NETWORKS,
    "strength",
    "resize",
    "match-colours",
    "keep-alpha",
    "masked-content",
    "only-masked",
    "extend",
    "guess",
)
"""Options that say nothing without a picture that is given: they are in the tab Edit."""
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class DrawTab:
    """What other tabs take from Draw.

    Attributes:
        fields: those of the tab's options.
        stage: where the pictures come.
        to_edit: the button that takes the picture to Edit.
    """

    fields: tuple[Field, ...]
    stage: Stage
    to_edit: gr.Button


def in_accordions() -> dict[str, tuple[str, ...]]:
    """The options that are out of sight, by the titles that they stand under."""
    rest = [name for name in OPTIONS if name in ACCEPTED and name not in (*IN_SIGHT, *OF_EDIT)]
    groups = {"More of the picture": REQUEST, "Adapters": MODEL, "File": FILE}
    return {title: tuple(name for name in rest if name in group) for title, group in groups.items()}


def draw_tab(desk: Desk, settings: Settings, jobs: gr.BrowserState) -> DrawTab:
    """Fill the tab Draw."""
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="asking", min_width=280):
            prompt = field(
                "prompt",
                lines=3,
                max_lines=12,
                autofocus=True,
                placeholder="nvinkpunk raven, neon green splash",
                max_length=settings.most_prompt,
                elem_id="prompt",
            )
            read = gr.HTML(reading_of({})[0], elem_classes="reading-box")
            negative = field(
                "negative",
                lines=1,
                max_lines=6,
                max_length=settings.most_prompt,
                placeholder="what it should not show",
                info=None,
                elem_id="negative",
            )
            read_negative = gr.HTML(reading_of({})[1], elem_classes="reading-box")
            with gr.Row(elem_classes="go"):
                go = gr.Button(
                    "Draw",
                    variant="primary",
                    elem_id="draw-now",
                    elem_classes="draws",
                    scale=3,
                    min_width=120,
                )
                halt = gr.Button("Stop", elem_id="draw-stop", elem_classes="stops", scale=1, min_width=80)
        with gr.Column(elem_classes="picture", min_width=280):
            stage = Stage.make("draw", jobs)
            with gr.Row(elem_classes="after"):
                again = gr.Button("Keep this seed", size="sm", elem_id="again", min_width=120)
                to_edit = gr.Button("Edit this picture", size="sm", elem_id="to-edit", min_width=120)
        with gr.Column(elem_classes="settings", min_width=280):
            model = _model_field(desk)
            typing = gr.Checkbox(
                label="Draw while I type", value=True, visible=desk.models.current == SKETCH, elem_id="typing"
            )
            usual: dict[str, Any] = {"info": None, "placeholder": "usual", "min_width": 90}
            with gr.Row(elem_classes="three"):
                sampler = field("sampler", info=None, min_width=120)
                steps = field("steps", **usual)
                guidance = field("guidance", **usual)
            with gr.Row(elem_classes="three"):
                width = field("width", **usual)
                height = field("height", **usual)
                count = gr.Number(
                    value=1,
                    precision=0,
                    minimum=1,
                    maximum=settings.most_pictures,
                    label="Pictures",
                    min_width=90,
                    elem_id="count",
                )
            with gr.Row(elem_classes="seed"):
                seed = field(
                    "seed",
                    info=None,
                    placeholder="a new one",
                    elem_id="seed",
                    min_width=120,
                    scale=3,
                )
                dice = gr.Button("⚄ New seed", size="sm", elem_id="dice", min_width=90, scale=1)
            in_sight = (prompt, negative, model, sampler, steps, guidance, width, height, seed)
            hidden = list[Field]()
            for title, names in in_accordions().items():
                with gr.Accordion(title, open=False):
                    made = {name: field(name, _upscalers(settings)) for name in names}
                    if "lora" in made:
                        _adapters(settings, made["lora"])
                    hidden += made.values()
    fields = (*in_sight, *hidden)
    shown = [each.component for each in fields]

    async def draw(
        request: gr.Request, known: list[str] | None, many: int | float | None, *values: Any
    ) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash)
        former = stage.turns.take_typed(turn)
        await asyncio.to_thread(stop, desk, former)
        try:
            orders = orders_of(told(fields, values), int(many or 1), settings.most_pictures)
        except OrderError as error:
            yield stage.refused(error)
            return
        try:
            async for each in stage.drawn(desk, turn, known or [], orders):
                yield each
        finally:
            forget(desk, former)

    async def draw_typed(request: gr.Request, wanted: bool, *values: Any) -> AsyncIterator[Shown]:
        yield (stays(),) * len(stage.outputs)
        asked = told(fields, values)
        drawn_by = asked.get("model", desk.models.current)
        if not wanted or drawn_by != SKETCH or "prompt" not in asked:
            return
        turn = stage.turns.take(request.session_hash)
        await asyncio.sleep(TYPED)
        if not stage.turns.is_newest(turn):
            return
        former = stage.turns.take_typed(turn)
        await asyncio.to_thread(stop, desk, former)
        asked = {"seed": 0, **asked}  # one for all: a word more changes the picture, chance does not
        try:
            orders = orders_of(asked, 1, 1)
        except OrderError as error:
            yield stage.refused(error)
            return
        try:
            async for picture, status, current, _ in stage.drawn(desk, turn, [], orders, client=TYPING):
                if isinstance(current, str):
                    stage.turns.note_typed(turn, current)
                yield picture, status, current, stays()
        finally:
            forget(desk, former)

    def can_be_typed(chosen: str | None) -> gr.Checkbox:
        return gr.Checkbox(visible=(model.tell(chosen) or desk.models.current) == SKETCH)

    language = [each for each in fields if each.name in LANGUAGE]

    def as_read(*values: Any) -> tuple[str, str]:
        return reading_of(told(language, values))

    go.click(draw, [jobs, count, *shown], stage.outputs, **QUIET)
    prompt.component.input(draw_typed, [typing, *shown], stage.outputs, **QUIET)
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    halt.click(partial(stop, desk), stage.current, None, **at_once)
    dice.click(lambda: "", None, seed.component, **at_once)
    again.click(partial(seed_of, desk), stage.current, seed.component, **at_once)
    model.component.change(
        can_be_typed,
        model.component,
        typing,
        **at_once,
    )
    gr.on(  # pyright: ignore[reportUnknownMemberType]
        [each.component.change for each in language],
        as_read,
        [each.component for each in language],
        [read, read_negative],
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_limit=None,
    )
    return DrawTab(fields, stage, to_edit)


def model_choices(desk: Desk) -> list[tuple[str, str]]:
    """What the choice of a model shows, and what each is called by."""
    return [
        (f"usual: {desk.models.current}", AS_USUAL),
        *((each.title, each.name) for each in desk.models.known()),
    ]


def _model_field(desk: Desk) -> Field:
    box = gr.Dropdown(model_choices(desk), value=AS_USUAL, label="Model", elem_id="model")

    def show(value: Value | None) -> str:
        if value is None:
            return AS_USUAL
        names = {each.name for each in desk.models.known()}
        return next((each for each in (str(value), Path(str(value)).stem) if each in names), AS_USUAL)

    return Field("model", box, show, lambda shown: None if shown in (None, AS_USUAL) else shown)


def _adapters(settings: Settings, told: Field) -> None:
    """Beside the adapters' lines, a way to write one without knowing how."""
    names = _names(settings.choice.lora_folder)
    if not names:
        gr.Markdown(
            "No adapters are there: start the studio with `--lora-folder FOLDER` to choose some here."
        )
        return
    with gr.Row():
        name = gr.Dropdown(names, label="Adapter", min_width=140)
        weight = gr.Slider(-2, 2, 0.8, step=0.05, label="Weight", min_width=140)
    add = gr.Button("Add it", size="sm")
    add.click(
        _added,
        [told.component, name, weight],
        told.component,
        queue=False,
        show_progress="hidden",
    )


def _added(lines: str, name: str | None, weight: int | float) -> str:
    return "\n".join(filter(None, [lines.strip(), f"{name}:{weight:g}" if name else ""]))


def _upscalers(settings: Settings) -> list[str]:
    return _names(settings.upscalers)


def _names(folder: str | Path | None) -> list[str]:
    if folder is None or not Path(folder).is_dir():
        return []
    return sorted(each.name for each in Path(folder).iterdir() if each.suffix in WEIGHTS)
