"""What an order may say: the options of `inkpunk generate` and `edit`, by their long names, and of what kind."""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from inkpunk.orders.values import OrderError, Value
from inkpunk.road import given

Read = Callable[[str, object], Value]

YES, NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def text(name: str, value: object) -> str:
    """Text; a number is taken as it is written."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return given.text(name, value)


def whole(name: str, value: object) -> int:
    """A whole number, or text of one."""
    try:
        return given.whole(name, int(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise OrderError(f"{name} {str(value)[:40]!r}: must be a whole number") from error


def number(name: str, value: object) -> float:
    """A finite number, or text of one."""
    try:
        read = given.number(name, float(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise OrderError(f"{name} {str(value)[:40]!r}: must be a number") from error
    if not math.isfinite(read):
        raise OrderError(f"{name} {read}: must be a finite number")
    return read


def flag(name: str, value: object) -> bool:
    """True or false, or text such as "yes"."""
    if isinstance(value, str) and value.strip().lower() in (*YES, *NO):
        return value.strip().lower() in YES
    return given.yes_or_no(name, value)


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of text, or a single one."""
    if isinstance(value, list | tuple):
        return tuple(given.text(name, each) for each in cast("list[object]", value))
    return (given.text(name, value),)


def interval(name: str, value: object) -> str:
    """Text LOW:HIGH, of two numbers."""
    told = given.text(name, value)
    try:
        low, high = map(float, told.split(":"))
    except ValueError as error:
        raise OrderError(
            f"{name} {told[:40]!r}: is not LOW:HIGH, two noise levels such as 0.28:5.42"
        ) from error
    return f"{low!r}:{high!r}"


REQUEST: Mapping[str, Read] = {
    "prompt": text,
    "negative": text,
    "seed": whole,
    "steps": whole,
    "guidance": number,
    "guidance-rescale": number,
    "guidance-interval": interval,
    "apg": flag,
    "sampler": text,
    "spacing": text,
    "eta": number,
    "width": whole,
    "height": whole,
    "like": text,
    "emphasis": text,
    "plain-prompt": flag,
    "wildcards": text,
    "clip-skip": whole,
    "init": text,
    "strength": number,
    "resize": text,
    "match-colours": flag,
    "keep-alpha": flag,
    "mask": text,
    "masked-content": text,
    "only-masked": whole,
    "extend": text,
    "control": texts,
    "hint": texts,
    "guess": flag,
    "image-prompt": texts,
    "region": texts,
    "draft": flag,
    "tileable": text,
    "blend": text,
    "vary": text,
    "seed-resize": text,
    "enlarge": text,
    "enlarge-by": text,
    "enlarge-strength": number,
    "enlarge-steps": whole,
    "enlarge-sampler": text,
    "upscaler": text,
    "tile-size": whole,
}
"""What decides a `Request`."""

MODEL: Mapping[str, Read] = {
    "model": text,
    "device": text,
    "dtype": text,
    "offload": flag,
    "tiled": flag,
    "low-memory": flag,
    "ema": flag,
    "prediction": text,
    "zero-snr": flag,
    "embedding": texts,
    "lora": texts,
    "lora-folder": text,
    "control-net": texts,
    "ip-adapter": text,
    "image-encoder": text,
    "tiny-vae": text,
    "without": texts,
    "compile": flag,
    "deterministic": flag,
}
"""What decides a `ModelChoice`."""

FILE: Mapping[str, Read] = {"format": text, "quality": whole}
"""What decides as what a picture is saved."""

OPTIONS = REQUEST | MODEL | FILE

ARGUMENTS = {
    "negative": "negative_prompt",
    "control": "controls",
    "hint": "hints",
    "image-prompt": "image_prompts",
    "region": "regions",
    "embedding": "embeddings",
    "lora": "loras",
    "control-net": "control_nets",
}
"""What an option's value is called in Python, where that is not its own name."""


def argument(name: str) -> str:
    """What an option's value is called in Python."""
    return ARGUMENTS.get(name, name.replace("-", "_"))


def settings_of(values: Mapping[str, Value]) -> dict[str, Any]:
    """What values say of a request, by the names of Python's arguments, as `inkpunk.road.settings` takes them."""
    told: dict[str, Any] = {argument(name): value for name, value in values.items() if name in REQUEST}
    if interval := told.get("guidance_interval"):
        told["guidance_interval"] = tuple(map(float, interval.split(":")))
    return told
