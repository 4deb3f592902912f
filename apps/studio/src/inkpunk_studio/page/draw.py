"""The tab Draw: a prompt, a picture, and every option that may be asked for within reach."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from inkpunk.models.hub import SKETCH
from inkpunk.orders.options import FILE, OPTIONS
from inkpunk.orders.values import OrderError, Value

from inkpunk_studio.page.adapters import adapter_choice, with_adapter, word_choice
from inkpunk_studio.page.drawing import AT_ONCE, QUIET, Shown, Stage, forget, seed_of, stop
from inkpunk_studio.page.fields import DEFAULT, Field, field, model_of, told
from inkpunk_studio.page.live import drawn_live
from inkpunk_studio.page.ordering import orders_of
from inkpunk_studio.page.reading import LANGUAGE, ModelWords, reading_of
from inkpunk_studio.page.shared import stays
from inkpunk_studio.page.stage import EMPTY
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import PICTURE_OPTIONS
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.limits import ACCEPTED, NETWORKS
from inkpunk_studio.work.models import Models

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
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Sampling": ("spacing", "eta", "guidance-rescale", "guidance-interval", "apg", "draft"),
    "How the prompt is read": ("blend", "emphasis", "clip-skip", "plain-prompt", "like"),
    "Variation and tiling": ("vary", "seed-resize", "tileable"),
    "Enlarge": (
        *("enlarge", "enlarge-by", "enlarge-strength", "enlarge-steps", "enlarge-sampler"),
        *("upscaler", "tile-size"),
    ),
    "Adapters": ("lora",),
    "File": tuple(FILE),
}
"""Options out of sight, by the titles that they stand under."""
REST = "More"
CLOCK = "(_, ...others) => [performance.timeOrigin + performance.now(), ...others]"
"""What the browser gives as an event's first input, however late the event comes."""


@dataclass(frozen=True)
class DrawTab:
    """What other tabs take from Draw.

    Attributes:
        fields: those of the tab's options.
        typing: whether it draws while one types.
        clock: what `CLOCK` gives to events.
        stage: where the pictures come.
        to_edit: the button that takes the picture to Edit.
    """

    fields: tuple[Field, ...]
    typing: gr.Checkbox
    clock: gr.Number
    stage: Stage
    to_edit: gr.Button

    def field(self, name: str) -> Field:
        """The field of an option."""
        return next(each for each in self.fields if each.name == name)


def in_accordions() -> dict[str, tuple[str, ...]]:
    """The options that are out of sight, by the titles that they stand under."""
    rest = [name for name in OPTIONS if name in ACCEPTED and name not in (*IN_SIGHT, *OF_EDIT)]
    grouped = {title: tuple(name for name in names if name in rest) for title, names in GROUPS.items()}
    others = tuple(name for name in rest if not any(name in names for names in grouped.values()))
    return grouped | ({REST: others} if others else {})


def draw_tab(desk: Desk, settings: Settings, jobs: gr.BrowserState) -> DrawTab:
    """Fill the tab Draw."""
    with gr.Row(elem_classes="easel"):
        with gr.Column(elem_classes="asking", min_width=280):
            prompt, negative, *read = _prompts(settings)
            go, halt = draw_and_stop("draw")
        with gr.Column(elem_classes="picture", min_width=280):
            stage = Stage.make("draw", jobs, empty=EMPTY)
            with gr.Row(elem_classes="after"):
                again = gr.Button("Keep this seed", size="sm", elem_id="again", min_width=120)
                to_edit = gr.Button("Edit this picture", size="sm", elem_id="to-edit", min_width=120)
        with gr.Column(elem_classes="settings", min_width=280):
            typing, count, dice, shown = _settings(desk, settings, prompt)
    tab = DrawTab((prompt, negative, *shown), typing, gr.Number(0, visible=False), stage, to_edit)
    _drawing(desk, settings, tab, go, count)
    _live(desk, tab)
    _read(tab, ModelWords(desk.models), read)
    _stopping(desk, tab, halt)
    seed = tab.field("seed").component
    dice.click(lambda: "", None, seed, **AT_ONCE)
    again.click(partial(seed_of, desk), stage.current, seed, **AT_ONCE)
    return tab


def draw_and_stop(name: str) -> tuple[gr.Button, gr.Button]:
    """Make the buttons that the keys press: Ctrl+Enter and Esc."""
    with gr.Row(elem_classes="go"):
        go = gr.Button(
            "Draw", variant="primary", elem_id=f"{name}-now", elem_classes="draws", scale=3, min_width=120
        )
        halt = gr.Button("Stop", elem_id=f"{name}-stop", elem_classes="stops", scale=1, min_width=80)
    return go, halt


def model_choices(desk: Desk) -> list[tuple[str, str]]:
    """What the choice of a model shows, and what each is called by."""
    return [
        (f"{DEFAULT}: {desk.models.current}", DEFAULT),
        *((each.title, each.name) for each in desk.models.known()),
    ]


def models_anew(desk: Desk) -> tuple[gr.Dropdown, gr.Checkbox]:
    """The choice of a model, and of drawing while one types, after another became the current one."""
    return gr.Dropdown(choices=model_choices(desk), value=DEFAULT), gr.Checkbox(visible=_is_quick(desk, None))


def _prompts(settings: Settings) -> tuple[Field, Field, gr.HTML, gr.HTML]:
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
    return prompt, negative, read, gr.HTML(reading_of({})[1], elem_classes="reading-box")


def _settings(
    desk: Desk, settings: Settings, prompt: Field
) -> tuple[gr.Checkbox, gr.Number, gr.Button, tuple[Field, ...]]:
    """Make what is below the prompt: the switch of live drawing, the count, the dice, and all other fields."""
    left_open: dict[str, Any] = {"info": None, "placeholder": DEFAULT, "min_width": 90}
    model = _model_field(desk)
    typing = gr.Checkbox(
        label="Draw while I type", value=True, visible=_is_quick(desk, None), elem_id="typing"
    )
    with gr.Row(elem_classes="three"):
        sampling = [field("sampler", info=None, min_width=120)]
        sampling += [field(name, **left_open) for name in ("steps", "guidance")]
    with gr.Row(elem_classes="three"):
        size = [field(name, **left_open) for name in ("width", "height")]
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
        seed = field("seed", info=None, placeholder="random", elem_id="seed", min_width=120, scale=3)
        dice = gr.Button("⚄ New seed", size="sm", elem_id="dice", min_width=90, scale=1)
    hidden = list[Field]()
    for title, names in in_accordions().items():
        with gr.Accordion(title, open=False) as accordion:
            made = {name: field(name, [*desk.asking.upscalers()]) for name in names}
            if "lora" in made:
                _adapters(desk.models, accordion, made["lora"], prompt, model)
            hidden += made.values()

    def may_be_typed(chosen: str | None) -> gr.Checkbox:
        return gr.Checkbox(visible=_is_quick(desk, model_of(chosen)))

    model.component.change(may_be_typed, model.component, typing, **AT_ONCE)
    return typing, count, dice, (model, *sampling, *size, seed, *hidden)


def _is_quick(desk: Desk, chosen: object) -> bool:
    """Whether a picture takes about a second: by the model in the box."""
    return (chosen or desk.models.current) == SKETCH


def _model_field(desk: Desk) -> Field:
    box = gr.Dropdown(model_choices(desk), value=DEFAULT, label="Model", elem_id="model")

    def show(value: Value | None) -> str:
        if value is None:
            return DEFAULT
        names = {each.name for each in desk.models.known()}
        return next((each for each in (str(value), Path(str(value)).stem) if each in names), DEFAULT)

    return Field("model", box, show, model_of)


def _adapters(models: Models, accordion: gr.Accordion, lines: Field, prompt: Field, model: Field) -> None:
    """Beside the adapters' lines, a way to write one without knowing how; and one for learned words."""
    name, weight = adapter_choice(models, accordion, "draw")
    add = gr.Button("Add it", size="sm", elem_id="draw-add-adapter")
    add.click(with_adapter, [lines.component, name, weight], lines.component, **AT_ONCE)
    word_choice(models, accordion, prompt.component, model.component)


def _drawing(desk: Desk, settings: Settings, tab: DrawTab, go: gr.Button, count: gr.Number) -> None:
    """Draw what the fields say, when the button is pressed."""
    stage = tab.stage

    async def draw(
        at: int | float, request: gr.Request, known: list[str] | None, many: int | float | None, *values: Any
    ) -> AsyncIterator[Shown]:
        turn = stage.turns.take(request.session_hash, float(at))
        former = stage.turns.take_typed(turn)
        try:
            await asyncio.to_thread(stop, desk, former)
            orders = orders_of(told(tab.fields, values), int(many or 1), settings.most_pictures)
            async for each in stage.drawn(desk, turn, known or [], orders):
                yield each
        except OrderError as error:
            yield stage.refused(error)
        finally:
            forget(desk, former)

    shown = [each.component for each in tab.fields]
    go.click(draw, [tab.clock, stage.jobs, count, *shown], stage.outputs, js=CLOCK, **QUIET)


def _stopping(desk: Desk, tab: DrawTab, halt: gr.Button) -> None:
    """Stop what is shown, and what was typed but a moment ago and is not drawn yet."""

    def halted(at: int | float, request: gr.Request, current: str | None) -> None:
        stop(desk, tab.stage.turns.stop(request.session_hash, float(at)))
        stop(desk, current)

    halt.click(halted, [tab.clock, tab.stage.current], None, js=CLOCK, **AT_ONCE)


def _live(desk: Desk, tab: DrawTab) -> None:
    """Draw while somebody types."""
    stage, model, prompt = tab.stage, tab.field("model"), tab.field("prompt")

    async def draw_typed(
        at: int | float, request: gr.Request, wanted: bool, *values: Any
    ) -> AsyncIterator[Shown]:
        yield (stays(),) * len(stage.outputs)
        asked = told(tab.fields, values)
        if wanted and _is_quick(desk, asked.get(model.name)) and prompt.name in asked:
            turn = stage.turns.take(request.session_hash, float(at))
            async for each in drawn_live(desk, stage, turn, asked):
                yield each

    shown = [each.component for each in tab.fields]
    prompt.component.input(draw_typed, [tab.clock, tab.typing, *shown], stage.outputs, js=CLOCK, **QUIET)


def _read(tab: DrawTab, words: ModelWords, read: list[gr.HTML]) -> None:
    """Tell how the prompts are read, as somebody types."""
    language = [each for each in tab.fields if each.name in LANGUAGE]
    components = [each.component for each in (tab.field("model"), *language)]

    def as_read(chosen: str | None, *values: Any) -> tuple[str, str]:
        return reading_of(told(language, values), words.now(model_of(chosen)))

    gr.on(  # pyright: ignore[reportUnknownMemberType]
        [each.change for each in components], as_read, components, read, trigger_mode="always_last", **AT_ONCE
    )
