"""Settings of a picture under the names of the command line's options, as the fields of a `Request`."""

from pathlib import Path
from typing import Any

from inkpunk.road.control import Control, ControlError
from inkpunk.road.enlarging import Enlarge, EnlargeError
from inkpunk.road.errors import RequestError
from inkpunk.road.wildcards import read_lists


def fields_of(
    *,
    seed: int | None = None,
    wildcards: str | Path | None = None,
    controls: tuple[str, ...] = (),
    hints: tuple[str, ...] = (),
    **settings: Any,
) -> dict[str, Any]:
    """The fields of the request that settings ask for; lists of wildcards are read.

    Args:
        seed: of the picture; None for a random one.
        wildcards: a folder of lists.
        controls, hints: as `Control.read` reads them; of the second, the pictures are hints already.
        settings: all other fields of a request by their names, and how it is enlarged ("enlarge", "enlarge_by",
            "enlarge_strength", "enlarge_steps", "enlarge_sampler", "upscaler").

    Raises:
        RequestError: for what cannot be, or changes nothing.
    """
    if seed is not None:
        settings["seeds"] = (seed,)
    settings["enlarge"] = _enlarging(settings)
    try:
        followed = (*map(Control.read, controls), *(Control.read(hint, ready=True) for hint in hints))
    except ControlError as error:
        raise RequestError(str(error)) from error
    lists = None if wildcards is None else read_lists(Path(wildcards))
    return {**settings, "wildcards": lists, "controls": followed}


def _enlarging(settings: dict[str, Any]) -> Enlarge | None:
    """Take out of the settings what they say of enlarging the picture."""
    to = settings.pop("enlarge", None)
    told = {name: settings.pop(f"enlarge_{name}", None) for name in ("by", "strength", "steps", "sampler")}
    upscaler = settings.pop("upscaler", None)
    if to is not None:
        try:
            return Enlarge(to, upscaler=upscaler, **told)
        except EnlargeError as error:
            raise RequestError(str(error)) from error
    idle = [f"--enlarge-{name}" for name, value in told.items() if value is not None]
    if idle or upscaler:
        raise RequestError(
            f"{', '.join(idle) or '--upscaler'}: changes nothing without --enlarge; give it, as 2"
        )
    return None
