"""Adapters and learned words as the page chooses them, of those that are there."""

import gradio as gr
from gradio.components import Component

from inkpunk_studio.page.drawing import AT_ONCE
from inkpunk_studio.page.fields import Made, model_of
from inkpunk_studio.page.weights import adapters_of, words_of
from inkpunk_studio.work.models import Models

USUAL_WEIGHT = 0.8


def adapter_choice(models: Models, accordion: gr.Accordion, name: str) -> tuple[gr.Dropdown, gr.Slider]:
    """Make the components that choose an adapter and its weight.

    Args:
        models: whose adapters may be chosen.
        accordion: that they are in: they are looked for when it is opened.
        name: of the choice, within the page.
    """
    with gr.Row():
        chosen = gr.Dropdown([], label="Adapter", value=None, elem_id=f"{name}-adapter", min_width=140)
        weight = gr.Slider(
            -2, 2, USUAL_WEIGHT, step=0.05, label="Weight", elem_id=f"{name}-weight", min_width=140
        )
    accordion.expand(lambda: gr.Dropdown(choices=adapters_of(models)), None, chosen, **AT_ONCE)
    return chosen, weight


def word_choice(models: Models, accordion: gr.Accordion, prompt: Component, model: Made) -> None:
    """Make the components that write a learned word into the prompt: they are there where there is one.

    Args:
        models: whose words may be chosen.
        accordion: as `adapter_choice`.
        prompt: that it is written into.
        model: the choice of the model that the words have to fit.
    """
    with gr.Row(visible=False, elem_classes="level") as row:
        word = gr.Dropdown(
            [], label="Learned word", value=None, elem_id="learned-word", scale=2, min_width=140
        )
        write = gr.Button("Write it into the prompt", size="sm", elem_id="write-word", min_width=140)

    def look(chosen: str | None) -> tuple[gr.Row, gr.Dropdown]:
        words = words_of(models, model_of(chosen))
        return gr.Row(visible=bool(words)), gr.Dropdown(choices=words)

    for trigger in (accordion.expand, model.change):
        trigger(look, model, [row, word], **AT_ONCE)
    write.click(with_word, [prompt, word], prompt, **AT_ONCE)


def with_word(prompt: str | None, word: str | None) -> str:
    """A prompt with one more word at its end."""
    before = (prompt or "").rstrip().rstrip(",")
    return ", ".join(each for each in (before, word) if each)


def with_adapter(lines: str | None, name: str | None, weight: int | float) -> str:
    """Draw's lines of adapters, with one more, or with its weight told anew."""
    before = [each for each in (lines or "").splitlines() if each.strip()]
    if not name:
        return "\n".join(before)
    others = [each for each in before if each.partition(":")[0].strip() != name]
    return "\n".join([*others, f"{name}:{weight:g}"])
