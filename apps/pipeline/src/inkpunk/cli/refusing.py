"""How what cannot be done is told: in one line, with what to do about it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click

OPTIONS = {
    "checkpoint": "--model",
    "adapter": "--lora",
    "embedding": "--embedding",
    "control network": "--control-net",
    "image prompt": "--ip-adapter",
    "image encoder": "--image-encoder",
    "tiny autoencoder": "--tiny-vae",
    "picture": "--control",
}
"""Where each kind of file belongs."""


@contextmanager
def refusals() -> Generator[None]:
    """Turn the errors that say what to do into one line on the terminal, and those of files, disks and memory.

    All others are mistakes of ours, and show where they arose.
    """
    try:
        yield
    except Exception as error:
        if (line := machine_refusal(error)) or (line := _said(error)):
            raise click.ClickException(line) from error
        raise


def machine_refusal(error: Exception) -> str | None:
    """One line for what no program can help: too little memory, a disk that is full, a file that is gone."""
    from inkpunk.memory.shortage import asked_for, is_shortage

    if is_shortage(error):
        asked = asked_for(error)
        for_it = f" for {asked} more" if asked else ""
        context = click.get_current_context(silent=True)
        return f"not enough memory{for_it}; {ways_out(context.params if context else {}, str(error))}"
    # of HubError and its like, which are OSErrors as well, there is more to tell; a broken pipe is click's to end on
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return None


def ways_out(given: Mapping[str, Any], said: str) -> str:
    """What would take less memory, of a command that was given these options."""
    ways = list[str]()
    if given.get("low_memory") is False:
        ways.append("--low-memory")
        # on an accelerator, auto is half of it already
        if given.get("dtype") == "float32" or (given.get("dtype") == "auto" and not _of_accelerator(said)):
            ways.append("--dtype bfloat16")
    if "width" in given:
        ways.append("a smaller size")
    if given.get("batch", 1) > 1:
        ways.append("a smaller --batch")
    return f"try {', '.join(ways)}, or close other programs" if ways else "close other programs"


def _of_accelerator(said: str) -> bool:
    return any(name in said for name in ("CUDA", "HIP", "MPS"))


def _said(error: Exception) -> str | None:
    """The message of an error that is made to be read."""
    if isinstance(error, ImportError):  # torch does not load: no other of these modules would
        return None
    from inkpunk_weights import CheckpointError

    from inkpunk.memory.devices import DeviceError
    from inkpunk.memory.precision import NotFiniteError
    from inkpunk.models.hub_errors import HubError
    from inkpunk.orders.choice import ChoiceError
    from inkpunk.orders.values import OrderError
    from inkpunk.pictures.facts import PictureError
    from inkpunk.road.control import ControlError
    from inkpunk.road.errors import RequestError
    from inkpunk.training.errors import TrainingError

    told = (
        *(CheckpointError, HubError, PictureError, RequestError, ControlError),
        *(DeviceError, NotFiniteError, TrainingError, OrderError, ChoiceError),
    )
    if not isinstance(error, told):
        return None
    belongs = _option_of(error.found) if isinstance(error, CheckpointError) else None
    return f"{error}; give it as {belongs}" if belongs else str(error)


def _option_of(found: str | None) -> str | None:
    """The option that takes what a file was found to be, of the command that is running."""
    option, context = OPTIONS.get(found or ""), click.get_current_context(silent=True)
    known = (
        {name for parameter in context.command.params for name in parameter.opts} if context else set[str]()
    )
    return option if option in known else None
