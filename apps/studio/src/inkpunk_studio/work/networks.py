"""Which networks draw beside a model, by names: control networks, image prompts and their encoders, adapters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inkpunk.models.control_nets import PUBLISHED
from inkpunk.models.loras import adapters_in
from inkpunk.orders.values import OrderError
from inkpunk.pictures.others.a1111_parts import kind_of_hint
from inkpunk_unet import UNetConfig
from inkpunk_weights import CheckpointError

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.folders import bytes_of, networks_of_hub, weights_in, without_ending
from inkpunk_studio.work.inspecting import Inspected, inspect, mark_of

NetworkKind = Literal["control network", "image prompt", "image encoder", "adapter"]

BOX = "sketch-"  # before the names of networks in the box
UNKNOWN = "KIND"  # what `kind_of_hint` says where it does not know
MOST_TOLD = 12  # names in a refusal
MARK = re.compile(r"\s*\[[0-9a-fA-F]*\]\s*\Z")
OPTIONS: dict[NetworkKind, str] = {
    "control network": "control-net",
    "image prompt": "ip-adapter",
    "image encoder": "image-encoder",
    "adapter": "lora",
}
"""The options of an order that name them."""


@dataclass(frozen=True)
class Network:
    """A network that can be chosen.

    Attributes:
        name: what it is chosen by.
        kind: what it does.
        family: "ControlNet", "T2I-Adapter", "IP-Adapter", "CLIP" or "LoRA".
        hint: the kind of hint that a control network reads, as far as its name tells; else None.
        bytes: its size on disk; None where that is not known.
        mark: what AUTOMATIC1111's ControlNet has in brackets behind its name; "" where there is none.
    """

    name: str
    kind: NetworkKind
    family: str
    hint: str | None = None
    bytes: int | None = None
    mark: str = ""

    @property
    def title(self) -> str:
        """Its name as AUTOMATIC1111's ControlNet writes it."""
        return f"{self.name} [{self.mark}]" if self.mark else self.name


@dataclass(frozen=True)
class Place:
    """Where a network is.

    Attributes:
        name: what it is chosen by.
        told: what `Pipeline.load` takes for it: a path, an id of the hub, or a name in the box.
        inspected: what it is.
        hint: the kind of hint that it is told to read; None where its name has to tell.
    """

    name: str
    told: str
    inspected: Inspected
    hint: str | None = None


class NotListedError(OrderError):
    """A network that is not there; the message lists what is."""


class Networks:
    """The networks that are there: those that the studio was started with, in the box, its folders, the hub's cache.

    Names are the files' own, without folder and ending; of files in folders within, with these before it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def known(self, kind: NetworkKind | None = None) -> tuple[Network, ...]:
        """All, or those of a kind; the folders are looked through anew each time."""
        kinds = (kind,) if kind else tuple(OPTIONS)
        return tuple(_network(each, place) for each in kinds for place in self._places(each).values())

    def named(self, told: str, kind: NetworkKind) -> str:
        """The name of a listed network that is told by its name, its title, its file's name, or the last part of it.

        Raises:
            NotListedError: for any other text; it lists what there is.
            OrderError: where there are several of this name.
        """
        return self._place(told, kind).name

    def told(self, name: str, kind: NetworkKind) -> str:
        """What `Pipeline.load` takes for a listed network.

        Raises:
            NotListedError: for one that is not listed.
        """
        return self._place(name, kind).told

    def usual_control(self, hint: str, model: Inspected) -> str | None:
        """What `Pipeline.load` takes for a kind of hint where an order names no network.

        It is the one that the studio was started with, or else that in the box, or the first of a ControlNet and of a
        T2I-Adapter whose name says this kind and that fits the model; None is inkpunk's own usual one.

        Raises:
            OrderError: where inkpunk has none.
        """
        started = self._settings.choice.nets_by_kind.get(hint)
        if started is not None:
            return started
        fitting = [
            place
            for place in self._places("control network").values()
            if hint_of(place) == hint and place.inspected.fits(model)
        ]
        if any(place.name.startswith(BOX) for place in fitting):
            return None  # inkpunk's own usual one is that
        if not fitting:
            if hint in PUBLISHED and model.widths in ((), UNetConfig.widths):
                return None  # which is on the hub
            there = _some(self._places("control network"))
            raise OrderError(
                f"control {hint}: no network here reads it for this model; name one as control-net {hint}=NAME, "
                f"of {there}"
            )
        return min(fitting, key=lambda each: each.inspected.family != "ControlNet").told

    def usual_image_prompt(self, model: Inspected) -> str:
        """What `Pipeline.load` takes for the adapter of image prompts where an order names none: the only one.

        Raises:
            OrderError: there is none, or there are several that fit the model.
        """
        if self._settings.choice.ip_adapter is not None:
            return self._settings.choice.ip_adapter
        fitting = [each for each in self._places("image prompt").values() if each.inspected.fits(model)]
        if len(fitting) == 1:
            return fitting[0].told
        if not fitting:
            raise OrderError(
                "image-prompt: there is no adapter to see it with; put an IP-Adapter into a folder of models here"
            )
        raise OrderError(
            f"image-prompt: say by which ip-adapter; there is {_some(each.name for each in fitting)}"
        )

    def usual_image_encoder(self, image_prompt: str) -> str | None:
        """The encoder for an adapter of image prompts where an order names none; None is the one beside it.

        Raises:
            OrderError: there is none beside it, and several elsewhere.
        """
        if self._settings.choice.image_encoder is not None:
            return self._settings.choice.image_encoder
        path = Path(image_prompt).expanduser()
        there = self._places("image encoder")
        if not path.exists() or (path.parent / "image_encoder").is_dir() or not there:
            return None
        if len(there) > 1:
            raise OrderError(f"image-prompt: say through which image-encoder; there is {_some(there)}")
        return next(iter(there.values())).told

    def _place(self, told: str, kind: NetworkKind) -> Place:
        places = self._places(kind)
        name = MARK.sub("", told).strip()
        for each in (name, without_ending(name)):
            if each in places:
                return places[each]
        last = without_ending(name).casefold()
        found = [
            each for each in places.values() if last in (each.name.casefold(), _last(each.name).casefold())
        ]
        if len(found) == 1:
            return found[0]
        if found:
            several = _some(each.name for each in found)
            raise OrderError(
                f"{OPTIONS[kind]} {told[:60]!r}: there are several of this name; say which, as {several}"
            )
        raise NotListedError(
            f"{OPTIONS[kind]} {told[:60]!r}: is not among those listed; "
            + (
                f"there is {_some(places)}"
                if places
                else "there is none, put one into a folder of models here"
            )
        )

    def _places(self, kind: NetworkKind) -> dict[str, Place]:
        places = dict[str, Place]()
        for each in (*self._started(kind), *self._found(kind)):
            places.setdefault(each.name, each)
        return places

    def _started(self, kind: NetworkKind) -> Iterator[Place]:
        """Those that the studio was started with, and those in the box."""
        choice = self._settings.choice
        if kind == "control network":
            from inkpunk_sketch import controls

            for hint, file in choice.nets_by_kind.items():
                yield _given(file, kind, hint)
            for hint, path in controls().items():
                yield Place(f"{BOX}{hint}", str(path), inspect(path), hint)
        elif kind == "image prompt" and choice.ip_adapter is not None:
            yield _given(choice.ip_adapter, kind)
        elif kind == "image encoder" and choice.image_encoder is not None:
            yield _given(choice.image_encoder, kind)
        elif kind == "adapter":
            yield from self._adapters()

    def _adapters(self) -> Iterator[Place]:
        """Adapters that inkpunk finds by their names: recipes call them by these, and no path is told."""
        from inkpunk_sketch import adapters

        folder = self._settings.choice.lora_folder
        try:
            files = adapters_in(Path(folder).expanduser()) if folder is not None else {}
        except (OSError, CheckpointError):
            files = {}
        for name, (path, *more) in files.items():
            if not more and (found := inspect(path)).kind == "adapter":
                yield Place(name, str(path) if Path(name).exists() else name, found)
        for name, path in adapters().items():
            yield Place(name, str(path) if Path(name).exists() else name, inspect(path))

    def _found(self, kind: NetworkKind) -> Iterator[Place]:
        """Those in folders, and in the hub's cache."""
        for folder in self._settings.models:
            for name, path, inspected in weights_in(folder):
                if inspected.kind == kind:
                    yield Place(name, str(path), inspected)
        if self._settings.hub is not None:
            for name, path, inspected in networks_of_hub(self._settings.hub):
                if inspected.kind == kind:
                    yield Place(name, str(path), inspected)


def hint_of(place: Place) -> str | None:
    """The kind of hint that a control network reads, as far as its name tells."""
    if place.hint is not None or place.inspected.kind != "control network":
        return place.hint
    name = _last(place.name).lower()
    for kind in sorted(PUBLISHED, key=len, reverse=True):
        if re.search(rf"(?<![a-z]){kind}(?![a-z])", name):
            return kind
    found = kind_of_hint("none", name)
    return None if found == UNKNOWN else found


def _network(kind: NetworkKind, place: Place) -> Network:
    path = Path(place.told).expanduser()
    mark = mark_of(path) if path.exists() else ""
    return Network(place.name, kind, place.inspected.family, hint_of(place), bytes_of(path), mark)


def _given(told: str, kind: NetworkKind, hint: str | None = None) -> Place:
    """One that the studio was started with; of the hub, nothing is known before it is fetched."""
    path = Path(told).expanduser()
    if not path.exists():
        return Place(told, told, Inspected(kind), hint)
    return Place(path.stem if path.is_file() else path.name, told, inspect(path), hint)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _some(names: Iterator[str] | dict[str, Place]) -> str:
    listed = [*names]
    more = f" and {len(listed) - MOST_TOLD} more" if len(listed) > MOST_TOLD else ""
    return ", ".join(listed[:MOST_TOLD]) + more
