"""Networks that stand beside the pictures they read: {"kind": "canny", "picture": "iVBOR...", "network": NAME}."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from inkpunk.orders.values import OrderError

NETWORK = "network"


def networks_beside(told: Mapping[str, object]) -> dict[str, object]:
    """Options that name networks, with those that stand in objects of "control", "hint" and "image-prompt" added.

    Raises:
        OrderError: for two image prompts that name two networks, and for one that is no text.
    """
    controls = [f"{each.get('kind', '')}={name}" for each, name in _named(told, "control", "hint")]
    seeing = {name for _, name in _named(told, "image-prompt")}
    added = dict[str, object]()
    if controls:
        before = told.get("control-net", [])
        several = cast("list[Any]", before) if isinstance(before, list) else [before]
        added["control-net"] = [*dict.fromkeys([*map(str, several), *controls])]
    if told.get("ip-adapter"):
        seeing.add(str(told["ip-adapter"]))
    if len(seeing) > 1:
        raise OrderError(
            f"image-prompt: one network sees all of them, and {' and '.join(sorted(seeing))} are named"
        )
    if seeing:
        added["ip-adapter"] = seeing.pop()
    return added


def _named(told: Mapping[str, object], *options: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for option in options:
        value = told.get(option)
        for each in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(each, dict) and (name := cast("dict[str, Any]", each).get(NETWORK)) is not None:
                if not isinstance(name, str):
                    raise OrderError(f"{option}, {NETWORK}: must be the name of one that is listed")
                yield cast("dict[str, Any]", each), name
