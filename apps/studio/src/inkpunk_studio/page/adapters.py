"""Adapters as the page chooses them: one of those that are there, and a weight, as a line of Draw's."""

import gradio as gr

from inkpunk_studio.page.weights import adapters_of
from inkpunk_studio.work.models import Models

USUAL_WEIGHT = 0.8


def adapter_choice(models: Models, name: str) -> tuple[gr.Dropdown, gr.Slider]:
    """Make the components that choose an adapter and its weight.

    Args:
        models: whose adapters may be chosen.
        name: of the choice, within the page.
    """
    with gr.Row():
        chosen = gr.Dropdown(
            adapters_of(models), label="Adapter", value=None, elem_id=f"{name}-adapter", min_width=140
        )
        weight = gr.Slider(
            -2, 2, USUAL_WEIGHT, step=0.05, label="Weight", elem_id=f"{name}-weight", min_width=140
        )
    return chosen, weight


def with_adapter(lines: str | None, name: str | None, weight: int | float) -> str:
    """Draw's lines of adapters, with one more, or with its weight told anew."""
    before = [each for each in (lines or "").splitlines() if each.strip()]
    if not name:
        return "\n".join(before)
    others = [each for each in before if each.partition(":")[0].strip() != name]
    return "\n".join([*others, f"{name}:{weight:g}"])
