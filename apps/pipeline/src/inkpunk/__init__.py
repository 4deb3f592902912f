"""Inkpunk-style Stable Diffusion v1.5: a prompt in, a picture out.

    from inkpunk import Pipeline, Request

    pipeline = Pipeline.load("sketch")  # or a checkpoint file, a diffusers folder, a hub id
    request = Request("nvinkpunk raven, neon green splash", seeds=(7, 8))
    for picture in pipeline.generate(request):
        picture.save(f"raven-{picture.facts.seed}.png")

The names below are imported when they are first used, so that `inkpunk --help` need not wait for torch.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inkpunk.models.loras import Lora
    from inkpunk.orders.order import Order
    from inkpunk.pictures.canvas import Extend
    from inkpunk.pictures.facts import Facts
    from inkpunk.pictures.picture import Picture
    from inkpunk.pictures.png_text import read_facts
    from inkpunk.pictures.reading import load_image
    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request
    from inkpunk.road.control import Control
    from inkpunk.road.enlarging import Enlarge
    from inkpunk.road.errors import RequestError
    from inkpunk.road.image_prompts import ImagePrompt
    from inkpunk.road.regions import Region

# How often a thread that waits for work looks again before it sleeps. By default OpenMP's look for milliseconds: on a
# machine that is busy with other work, they so keep the very thread from running that they wait for. OpenMP reads it
# when torch is loaded, and not again. What the user has set stays.
SPINS_BEFORE_SLEEP = 1000
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS_BEFORE_SLEEP))

_HOMES = {
    "Control": "inkpunk.road.control",
    "Extend": "inkpunk.pictures.canvas",
    "Enlarge": "inkpunk.road.enlarging",
    "Facts": "inkpunk.pictures.facts",
    "ImagePrompt": "inkpunk.road.image_prompts",
    "Lora": "inkpunk.models.loras",
    "Order": "inkpunk.orders.order",
    "Picture": "inkpunk.pictures.picture",
    "Pipeline": "inkpunk.pipeline",
    "Region": "inkpunk.road.regions",
    "Request": "inkpunk.request",
    "RequestError": "inkpunk.road.errors",
    "load_image": "inkpunk.pictures.reading",
    "read_facts": "inkpunk.pictures.png_text",
}

__all__ = [
    "Control",
    "Enlarge",
    "Extend",
    "Facts",
    "ImagePrompt",
    "Lora",
    "Order",
    "Picture",
    "Pipeline",
    "Region",
    "Request",
    "RequestError",
    "load_image",
    "read_facts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
