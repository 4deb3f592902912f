"""Pictures that the drawing follows or sees, as Edit asks for them: each with the network that reads it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from inkpunk_studio.page.drawing import QUIET
from inkpunk_studio.page.fields import DEFAULT
from inkpunk_studio.page.given import Given
from inkpunk_studio.page.shared import stays
from inkpunk_studio.work.models import Models
from inkpunk_studio.work.networks import NetworkKind

KINDS = ("canny", "softedge", "scribble", "tile", "depth")
"""Of control pictures, as `inkpunk generate --control` makes hints of them; a ready hint may be of any other."""
PLACES = ("", "second ")
"""Before the labels of control pictures: so many may be given."""


@dataclass(frozen=True)
class Followed:
    """A control picture's components, in the order in which `read` takes what they show.

    Attributes:
        components: picture, kind, network, weight, from, to, whether it is ready.
    """

    components: tuple[Component, ...]

    @staticmethod
    def read(given: Given, shown: tuple[Any, ...]) -> None:
        """Take it, where one is given."""
        picture, kind, network, weight, begin, end, ready = shown
        given.followed(picture, kind, weight, (begin, end), ready=bool(ready), network=told(network))


@dataclass(frozen=True)
class Seen:
    """An image prompt's components, in the order in which `read` takes what they show.

    Attributes:
        components: picture, network, weight.
    """

    components: tuple[Component, ...]

    @staticmethod
    def read(given: Given, shown: tuple[Any, ...]) -> None:
        """Take it, where one is given."""
        picture, network, weight = shown
        given.prompted(picture, weight, network=told(network))


def followed(models: Models, place: str = "") -> Followed:
    """Make the components of a control picture.

    Args:
        models: whose networks may be chosen.
        place: before its labels, one of `PLACES`.
    """
    which, name = f" ({place}picture)" if place else "", f"{place.strip()}-followed".strip("-")
    with gr.Accordion(f"Follow a {place}picture", open=False) as accordion:
        picture = given_picture(f"{place}control picture".capitalize(), elem_id=name)
        kind = gr.Dropdown(
            list(KINDS),
            value=KINDS[0],
            allow_custom_value=True,
            label=f"What of the {place}control picture",
            elem_id=f"{name}-kind",
        )
        network = _network(
            models, "control network", f"Network that reads the {place}control picture", f"{name}-network"
        )
        weight = gr.Slider(0, 2, 1, step=0.05, label=f"Weight of the {place}control picture")
        with gr.Row():
            begin = _share(f"Steps that count, from{which}", 0)
            end = _share(f"Steps that count, to{which}", 1)
        ready = gr.Checkbox(label=f"The {place}picture is a hint already: lines, a pose, a depth map")
    accordion.expand(partial(_listed, models, "control network"), None, network, **QUIET)
    network.input(partial(_kind_of, models), network, kind, **QUIET)
    return Followed((picture, kind, network, weight, begin, end, ready))


def seen(models: Models) -> Seen:
    """Make the components of an image prompt."""
    with gr.Accordion("Image prompt", open=False) as accordion:
        picture = given_picture("A picture that says what to draw", elem_id="seen")
        network = _network(models, "image prompt", "Network that sees the image prompt", "seen-network")
        weight = gr.Slider(0, 2, 1, step=0.05, label="Weight of the image prompt")
    accordion.expand(partial(_listed, models, "image prompt"), None, network, **QUIET)
    return Seen((picture, network, weight))


def given_picture(label: str, **looks: Any) -> gr.Image:
    """Where a picture is given."""
    return gr.Image(type="pil", label=label, sources=["upload", "clipboard"], buttons=["fullscreen"], **looks)


def _share(label: str, value: int) -> gr.Slider:
    return gr.Slider(0, 1, value, step=0.05, label=label, min_width=140)


def told(network: object) -> str | None:
    """The network that is chosen; None for the usual one."""
    return None if network in (None, "", DEFAULT) else str(network)


def _network(models: Models, kind: NetworkKind, label: str, name: str) -> gr.Dropdown:
    return gr.Dropdown(_names(models, kind), value=DEFAULT, label=label, elem_id=name)


def _names(models: Models, kind: NetworkKind) -> list[str]:
    return [DEFAULT, *(each.name for each in models.networks.known(kind))]


def _listed(models: Models, kind: NetworkKind) -> Any:
    """What can be chosen now: the folders may have more than when the page was made."""
    return gr.Dropdown(choices=_names(models, kind))


def _kind_of(models: Models, network: str | None) -> Any:
    """The kind of hint that a network reads, where its name tells."""
    hints = {each.name: each.hint for each in models.networks.known("control network")}
    return hints.get(network or "") or stays()
