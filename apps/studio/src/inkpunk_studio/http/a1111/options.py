"""The options that clients read and write back whole: those that change something here, and a few they look for."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from inkpunk.orders.values import OrderError

from inkpunk_studio.http.refusing import Refusal, shortly
from inkpunk_studio.work.models import Known, Models
from inkpunk_studio.work.writing import replace_json

CHECKPOINT, HASH = "sd_model_checkpoint", "sd_checkpoint_hash"
FOLLOWED: Mapping[str, Any] = {
    "CLIP_stop_at_last_layers": 1,
    "emphasis": "Original",
    "img2img_color_correction": False,
    "samples_format": "png",
    "sd_vae": "Automatic",
}
"""What changes how pictures are drawn here, and its usual values."""
FIXED: Mapping[str, Any] = {
    "eta_noise_seed_delta": 0,
    "live_previews_enable": True,
    "randn_source": "CPU",
    "show_progress_type": "Approx NN",
    "upscaler_for_img2img": "None",
}
"""What clients look for, and cannot be had otherwise."""
NOTHING: tuple[object, ...] = (None, "", [], {})
"""Values by which an option that is not here asks for nothing."""
EMPHASES = {"Original": "mean", "No norm": "plain", "Ignore": "ignore"}
MOST_TOLD = 20  # options that are named in warnings


class Options:
    """The server's options, kept in a file; safe to ask from any thread.

    The model is not: the studio begins with the one that it is started with.
    """

    def __init__(self, models: Models, file: Path) -> None:
        """Take up those of an earlier run; one that cannot be any more is as usual."""
        self._models, self._file, self._lock = models, file, Lock()
        self._values = {**FOLLOWED, **_kept(file)}

    def read(self) -> dict[str, Any]:
        """All of them."""
        now = current(self._models)
        with self._lock:
            values = dict(self._values)
        return {CHECKPOINT: now.title, HASH: now.hash or "", **FIXED, **values}

    def write(self, told: Mapping[str, Any]) -> list[str]:
        """Take over what is told, all of it or nothing; gives a line for each option that changes nothing.

        Raises:
            Refusal: for a model that is not listed, or a value of another kind.
        """
        warnings = unknown(told)
        values = {name: checked(name, told[name]) for name in FOLLOWED if told.get(name) is not None}
        if name := told.get(CHECKPOINT):
            try:
                _ = self._models.use(str(name))
            except OrderError as error:
                raise Refusal(404, str(error)) from error
        with self._lock:
            self._values |= values
            with suppress(OSError):  # a full disk: they are those of this run
                replace_json(self._file, self._values)
        return warnings

    def over(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Those that change pictures, with others for one request laid over them.

        Raises:
            Refusal: as `write`.
        """
        with self._lock:
            values = dict(self._values)
        return values | {name: checked(name, told[name]) for name in FOLLOWED if told.get(name) is not None}


def _kept(file: Path) -> dict[str, Any]:
    values = dict[str, Any]()
    with suppress(OSError, ValueError, AttributeError):
        for name, value in json.loads(file.read_bytes()).items():
            with suppress(Refusal, KeyError):
                values[name] = checked(name, value)
    return values


def current(models: Models) -> Known:
    """The model that draws where none is told."""
    known = {each.name: each for each in models.known()}
    name = models.current
    return known.get(name) or Known(name, name, None, None)


def checked(name: str, value: Any) -> Any:
    """An option's value, if it is of its kind.

    Raises:
        Refusal: if it is not.
    """
    usual = FOLLOWED[name]
    if isinstance(usual, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(usual, int):
        if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 12:
            return int(value)
    elif isinstance(value, str) and len(value) <= 1000:
        return value
    raise Refusal(422, f"{name} {shortly(value)}: cannot be; {usual!r} is usual")


def unknown(told: Mapping[str, Any]) -> list[str]:
    """A line for each option that changes nothing here."""
    lines = list[str]()
    for name, value in told.items():
        if name in FOLLOWED or name in (CHECKPOINT, HASH) or value in NOTHING:
            continue
        if name not in FIXED:
            lines.append(f"{name[:60]}: there is no such option here, and it changes nothing")
        elif value != FIXED[name]:
            lines.append(f"{name}: is always {FIXED[name]!r} here")
    return lines[:MOST_TOLD]


def values_of(options: Mapping[str, Any], last_layer: int) -> tuple[dict[str, Any], list[str]]:
    """What options mean in an order's values, and what of them is not followed.

    Args:
        options: as `Options.over` gives them.
        last_layer: what the text encoder's last layer is called.
    """
    values, warnings = dict[str, Any](), list[str]()
    if (skip := options["CLIP_stop_at_last_layers"]) != 1:
        values["clip-skip"] = skip - 1 + last_layer
    emphasis = options["emphasis"]
    if emphasis == "None":
        values["plain-prompt"] = True
    elif emphasis in EMPHASES:
        if emphasis != "Original":
            values["emphasis"] = EMPHASES[emphasis]
    else:
        warnings.append(f"emphasis {emphasis[:40]!r}: there is none of this name; Original was taken")
    form = options["samples_format"].lower()
    if form in ("jpg", "jpeg", "webp"):
        values["format"] = form.replace("jpg", "jpeg")
    elif form != "png":
        warnings.append(f"samples_format {form[:20]!r}: is not written here; png was")
    if options["sd_vae"] not in ("Automatic", "None", "auto", ""):
        warnings.append(f"sd_vae {options['sd_vae'][:60]!r}: is not there; the model's own was taken")
    return values, warnings
