"""A page to draw in, and the HTTP addresses that other programs already call.

    from inkpunk import Order
    from inkpunk_studio import Desk, Settings

    with Desk(Settings()) as desk:
        job = desk.submit([Order.read({"prompt": "a raven", "seed": 7})], client="script")
        print(desk.wait(job.id).drawn[0].path)

The names below are imported when they are first used, so that `inkpunk-studio --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inkpunk_studio.app import create_app
    from inkpunk_studio.settings import Settings
    from inkpunk_studio.work.desk import Desk

_HOMES = {
    "Desk": "inkpunk_studio.work.desk",
    "Settings": "inkpunk_studio.settings",
    "create_app": "inkpunk_studio.app",
}

__all__ = ["Desk", "Settings", "create_app"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
