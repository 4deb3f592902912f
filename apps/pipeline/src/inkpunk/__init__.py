"""Inkpunk-style Stable Diffusion v1.5: a prompt in, a picture out.

    from inkpunk import Pipeline, Request

    pipeline = Pipeline.load("sketch")  # or a checkpoint file, a diffusers folder, a hub id
    request = Request("nvinkpunk raven, neon green splash", seeds=(7, 8))
    for picture in pipeline.generate(request):
        picture.save(f"raven-{picture.facts.seed}.png")

The names below are imported when they are first used, so that `inkpunk --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inkpunk.picture import Facts, Picture, load_image, read_facts
    from inkpunk.pipeline import Pipeline
    from inkpunk.request import Request, RequestError

_HOMES = {
    "Facts": "inkpunk.picture",
    "Picture": "inkpunk.picture",
    "Pipeline": "inkpunk.pipeline",
    "Request": "inkpunk.request",
    "RequestError": "inkpunk.request",
    "load_image": "inkpunk.picture",
    "read_facts": "inkpunk.picture",
}

__all__ = ["Facts", "Picture", "Pipeline", "Request", "RequestError", "load_image", "read_facts"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
