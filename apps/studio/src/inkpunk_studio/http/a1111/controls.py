"""Scripts that go with a request: ControlNet's units are followed, others are named in a warning."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from inkpunk.models.control_nets import PUBLISHED
from inkpunk.pictures.fitting import find_resize
from inkpunk.pictures.hints import CANNY_HIGH, CANNY_LOW, MAKERS
from inkpunk.pictures.others.a1111_parts import kind_of_hint

from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.work.networks import MARK, Network, NetworkKind, Networks, NotListedError

MOST_UNITS = 10
MOST_LISTED = 20  # networks in a refusal
STRONGER = ("controlnet is more important", "2")
BALANCED = ("balanced", "0", "")
NONE = ("", "none")
UNKNOWN = "KIND"  # what `kind_of_hint` says where it does not know
IMAGE_PROMPT = re.compile(r"ip[-_ ]?adapter", re.IGNORECASE)
THEIRS = {each.rpartition("/")[2] for each in PUBLISHED.values()}
"""What the files of ControlNet 1.1 are called, which clients name without asking whether they are there."""
RESIZES = {
    "0": "just resize",
    "1": "crop and resize",
    "2": "resize and fill",
    "scale to fit (inner fit)": "fill",
}
EITHER: tuple[NetworkKind, ...] = ("control network", "image prompt")
"""Units name one of both kinds."""


def scripts(
    told: Mapping[str, Any] | None, init: str | None, networks: Networks
) -> tuple[dict[str, Any], list[str]]:
    """What scripts mean in an order's values, and what of them is not followed.

    Args:
        told: by the scripts' names, `{"args": [...]}`.
        init: the picture that is begun from, which a unit without one of its own follows.
        networks: that units may name.

    Raises:
        Refusal: for a unit that cannot be read, or that names a network which is not there.
    """
    values, warnings = dict[str, Any](), list[str]()
    for name, script in (told or {}).items():
        args = cast("Any", script).get("args") if isinstance(script, dict) else script
        if name.lower().startswith("controlnet"):
            units = _units(args, init, networks)
            values |= units.told
            warnings += units.warnings
        elif _does_something(args):
            warnings.append(f"alwayson_scripts {name[:60]!r}: there is no such script here")
    return values, warnings[: MOST_UNITS * 4]


def _does_something(args: Any) -> bool:
    first = cast("list[Any]", args)[0] if isinstance(args, list) and args else None
    return bool(cast("Any", args)) and first is not False


def _units(args: Any, init: str | None, networks: Networks) -> "Units":
    each_of = cast("list[Any]", args) if isinstance(args, list) else [args]
    told: Sequence[Any] = each_of if args else ()
    if len(told) > MOST_UNITS:
        raise Refusal(422, f"ControlNet: {len(told)} units; at most {MOST_UNITS} are taken")
    units = Units(networks, init)
    for place, unit in enumerate(told):
        if not isinstance(unit, dict):
            raise Refusal(422, f"ControlNet {place}: is no unit; send an object")
        each = cast("dict[str, Any]", unit)
        if each.get("enabled", True) not in (False, "false"):
            units.add(f"ControlNet {place}", each)
    return units


@dataclass
class Units:
    """What units mean together.

    Attributes:
        networks: that they may name.
        init: the picture that one follows which has none of its own.
        values: of an order's options, but for the control networks.
        files: by the kind of hint, the network that reads it; None for the usual one.
        warnings: what is not followed.
    """

    networks: Networks
    init: str | None
    values: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def told(self) -> dict[str, Any]:
        """Values of an order's options."""
        named = [f"{kind}={name}" for kind, name in self.files.items() if name is not None]
        return self.values | ({"control-net": named} if named else {})

    def add(self, where: str, unit: Mapping[str, Any]) -> None:
        """Take one more.

        Args:
            where: what messages call it.
            unit: its fields.

        Raises:
            Refusal: for one that cannot be followed.
        """
        module, model = (str(unit.get(name) or "none")[:200] for name in ("module", "model"))
        network = self._network(where, model)
        read = {"picture": self._picture(where, unit), "weight": unit.get("weight", 1.0)}
        sees = (
            network.kind == "image prompt"
            if network
            else IMAGE_PROMPT.search(f"{module} {model}") is not None
        )
        if sees:
            self._prompted(where, unit, read, network)
        else:
            when = {"start": unit.get("guidance_start", 0.0), "end": unit.get("guidance_end", 1.0)}
            self._followed(where, module, model, read | when, network)
            self._warn_of_thresholds(where, module, unit)
        self._resized(where, unit)
        mode = str(unit.get("control_mode") or "").lower()
        if mode in STRONGER:
            self.values["guess"] = True
        elif mode not in BALANCED:
            self.warnings.append(f"{where}: control_mode {mode[:40]!r} is not followed")
        if unit.get("mask") or unit.get("mask_image"):
            self.warnings.append(f"{where}: its mask is not followed")

    def _network(self, where: str, model: str) -> Network | None:
        """The listed network that a unit names; None for the usual one."""
        if model.lower().strip() in NONE:
            return None
        known = [each for kind in EITHER for each in self.networks.known(kind)]
        for kind in EITHER:
            try:
                name = self.networks.named(model, kind)
            except NotListedError:
                continue
            return next(each for each in known if (each.kind, each.name) == (kind, name))
        if MARK.sub("", model).strip() in THEIRS:
            self.warnings.append(f"{where}: model {model[:60]!r} is not here; the usual one was taken")
            return None
        there = [each.title for each in known]
        listed = ", ".join(there[:MOST_LISTED]) + (" and more" if len(there) > MOST_LISTED else "")
        raise Refusal(422, f"{where}: model {model[:60]!r} is not among those listed; there is {listed}")

    def _picture(self, where: str, unit: Mapping[str, Any]) -> str:
        picture = unit.get("image") or unit.get("input_image") or self.init
        if isinstance(picture, dict):
            picture = cast("dict[str, Any]", picture).get("image")
        if not isinstance(picture, str):
            raise Refusal(422, f"{where}: has no picture; send it as image, in base64")
        return picture

    def _prompted(
        self, where: str, unit: Mapping[str, Any], read: dict[str, Any], network: Network | None
    ) -> None:
        name = network.name if network else None
        if self.values.get("image-prompt") and self.values.get("ip-adapter") != name:
            raise Refusal(
                422, f"{where}: another unit sees its picture by another network; one sees all of them"
            )
        self.values.setdefault("image-prompt", []).append(read)
        if name is not None:
            self.values["ip-adapter"] = name
        if unit.get("guidance_start") or unit.get("guidance_end") not in (None, 1):
            self.warnings.append(f"{where}: an image prompt counts at all steps here")

    def _followed(
        self, where: str, module: str, model: str, read: dict[str, Any], network: Network | None
    ) -> None:
        ready = module.lower().strip() in NONE
        kind = (network.hint if network and ready else None) or kind_of_hint(module, model if ready else "")
        if kind == UNKNOWN and network is not None:
            kind = _plain(network.name)
        if kind == UNKNOWN:
            raise Refusal(422, f"{where}: neither module nor model says what is followed; give module: canny")
        if not ready and kind not in MAKERS:
            raise Refusal(
                422,
                f"{where}: module {module[:60]!r} is not here, only none, {', '.join(MAKERS)}; send a picture that "
                "such a module has made, with module none",
            )
        name = network.name if network else None
        if self.files.setdefault(kind, name) != name:
            other = _plain(name or "")
            if not (ready and other) or self.files.setdefault(other, name) != name:
                raise Refusal(422, f"{where}: one network reads {kind}, and another unit names another")
            kind = other
        self.values.setdefault("hint" if ready else "control", []).append({"kind": kind, **read})

    def _warn_of_thresholds(self, where: str, module: str, unit: Mapping[str, Any]) -> None:
        usual = {"threshold_a": CANNY_LOW, "threshold_b": CANNY_HIGH}
        for name, value in usual.items() if module.lower() == "canny" else ():
            told = unit.get(name)
            if isinstance(told, int | float) and told >= 0 and told != value:
                self.warnings.append(f"{where}: {name} is always {value} here")

    def _resized(self, where: str, unit: Mapping[str, Any]) -> None:
        """How its picture is fitted; where one is begun from, as that is."""
        told = str(unit.get("resize_mode") if unit.get("resize_mode") is not None else "").lower()
        if not told or self.init is not None:
            return
        try:
            way = find_resize(RESIZES.get(told, told).removeprefix("resizemode."))
        except ValueError:
            self.warnings.append(f"{where}: resize_mode {told[:40]!r} is not followed")
            return
        if self.values.setdefault("resize", way) != way:
            self.warnings.append(f"{where}: its picture is fitted as another unit's is")


def _plain(name: str) -> str:
    """A network's name as a kind of hint may be called."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
