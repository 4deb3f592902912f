"""Scripts that go with a request: ControlNet's units are followed, others are named in a warning."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from inkpunk.pictures.others.a1111_parts import kind_of_hint

from inkpunk_studio.http.refusing import Refusal

MOST_UNITS = 10
STRONGER = ("controlnet is more important", "2")
BALANCED = ("balanced", "0", "")


def scripts(told: Mapping[str, Any] | None, init: str | None) -> tuple[dict[str, Any], list[str]]:
    """What scripts mean in an order's values, and what of them is not followed.

    Args:
        told: by the scripts' names, `{"args": [...]}`.
        init: the picture that is begun from, which a unit without one of its own follows.

    Raises:
        Refusal: for a unit that cannot be read.
    """
    values, warnings = dict[str, Any](), list[str]()
    for name, script in (told or {}).items():
        args = cast("Any", script).get("args") if isinstance(script, dict) else script
        if name.lower().startswith("controlnet"):
            found, lines = _units(args, init)
            values |= found
            warnings += lines
        elif _does_something(args):
            warnings.append(f"alwayson_scripts {name[:60]!r}: there is no such script here")
    return values, warnings[: MOST_UNITS * 4]


def _does_something(args: Any) -> bool:
    first = cast("list[Any]", args)[0] if isinstance(args, list) and args else None
    return bool(cast("Any", args)) and first is not False


def _units(args: Any, init: str | None) -> tuple[dict[str, Any], list[str]]:
    each_of = cast("list[Any]", args) if isinstance(args, list) else [args]
    units: Sequence[Any] = each_of if args else ()
    values: dict[str, Any] = {}
    warnings = list[str]()
    if len(units) > MOST_UNITS:
        raise Refusal(422, f"ControlNet: {len(units)} units; at most {MOST_UNITS} are taken")
    for place, unit in enumerate(units):
        if not isinstance(unit, dict):
            raise Refusal(422, f"ControlNet {place}: is no unit; send an object")
        each = cast("dict[str, Any]", unit)
        if each.get("enabled", True) in (False, "false"):
            continue
        option, read = _unit(place, each, init)
        values.setdefault(option, []).append(read)
        mode = str(each.get("control_mode") or "").lower()
        if mode in STRONGER:
            values["guess"] = True
        elif mode not in BALANCED:
            warnings.append(f"ControlNet {place}: control_mode {mode[:40]!r} is not followed")
        if each.get("mask") or each.get("mask_image"):
            warnings.append(f"ControlNet {place}: its mask is not followed")
    return values, warnings


def _unit(place: int, unit: Mapping[str, Any], init: str | None) -> tuple[str, dict[str, Any]]:
    picture = unit.get("image") or unit.get("input_image") or init
    if isinstance(picture, dict):
        picture = cast("dict[str, Any]", picture).get("image")
    if not isinstance(picture, str):
        raise Refusal(422, f"ControlNet {place}: has no picture; send it as image, in base64")
    module, model = (str(unit.get(name) or "none")[:200] for name in ("module", "model"))
    kind = kind_of_hint(module, model)
    if kind == "KIND":
        raise Refusal(
            422, f"ControlNet {place}: neither module nor model says what is followed; give module: canny"
        )
    read: dict[str, Any] = {
        "kind": kind,
        "picture": picture,
        "weight": unit.get("weight", 1.0),
        "start": unit.get("guidance_start", 0.0),
        "end": unit.get("guidance_end", 1.0),
    }
    return ("hint" if module.lower() == "none" else "control"), read
