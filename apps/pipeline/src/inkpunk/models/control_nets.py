"""Control networks: which one draws a kind of hint, whether it fits a model, and how it comes to work."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, cast

import torch
from inkpunk_sketch import controls as boxed_controls
from inkpunk_unet import ControlNet, ControlNetConfig, T2IAdapter, T2IAdapterConfig, UNetConfig
from inkpunk_weights import CheckpointError, Control, open_control
from PIL import Image
from torch import nn

from inkpunk.memory.residence import Residence
from inkpunk.models.hashing import short_hash
from inkpunk.models.hub import resolve_network
from inkpunk.models.loading import build, told_config
from inkpunk.models.told import as_whole

PUBLISHED: Mapping[str, str] = {
    "canny": "lllyasviel/control_v11p_sd15_canny",
    "depth": "lllyasviel/control_v11f1p_sd15_depth",
    "inpaint": "lllyasviel/control_v11p_sd15_inpaint",
    "ip2p": "lllyasviel/control_v11e_sd15_ip2p",
    "lineart": "lllyasviel/control_v11p_sd15_lineart",
    "mlsd": "lllyasviel/control_v11p_sd15_mlsd",
    "normalbae": "lllyasviel/control_v11p_sd15_normalbae",
    "openpose": "lllyasviel/control_v11p_sd15_openpose",
    "scribble": "lllyasviel/control_v11p_sd15_scribble",
    "seg": "lllyasviel/control_v11p_sd15_seg",
    "shuffle": "lllyasviel/control_v11e_sd15_shuffle",
    "softedge": "lllyasviel/control_v11p_sd15_softedge",
    "tile": "lllyasviel/control_v11f1e_sd15_tile",
}
"""By kind, ControlNet 1.1 on the hub."""


@dataclass(frozen=True, eq=False)
class OpenControlNet:
    """A control network, ready to work.

    Attributes:
        name: what pictures call it.
        path: its file or folder.
        network: a ControlNet or T2IAdapter.
        swaps_colours: whether it takes blue for the first of a hint's colours.
        pooled: whether it tells the same of all places, and of predictions under the prompt alone.
    """

    name: str
    path: Path
    network: Residence[Any]
    swaps_colours: bool = False
    pooled: bool = False

    @property
    def hash(self) -> str:
        """The first 12 hex digits of its file's SHA-256, or what a folder is known by; "" where it is gone."""
        return short_hash(self.path)


class ControlNets:
    """The control networks of a model, by kind; each is opened when it is first asked for, and kept."""

    def __init__(
        self,
        told: Mapping[str, str | Path],
        unet: UNetConfig,
        waiting: torch.device,
        dtype: torch.dtype | None,
        reside: Callable[[nn.Module], Residence[Any]],
        *,
        half: bool = False,
    ) -> None:
        """Open none yet.

        Args:
            told: the file, folder or hub id of the network for a kind, where that is not the usual one.
            unet: the model's.
            waiting: where networks wait.
            dtype: of their weights; None for the files' own.
            reside: makes a network fast, and a residence of it.
            half: prefer float16 weights on the hub.
        """
        self.told = dict(told)
        self._unet, self._waiting, self._dtype, self._reside, self._half = unet, waiting, dtype, reside, half
        self._open: dict[str, OpenControlNet] = {}
        self._lock = Lock()

    def changed(self, change: Callable[[nn.Module], object]) -> "ControlNets":
        """The same networks, opened as here, in copies that share their weights and that a change was made to."""
        return _Changed(self, change)

    def choosing(self, told: Mapping[str, str | Path]) -> "ControlNets":
        """The same, with other files, folders or hub ids told; what is open of them, and told as here, stays open."""
        chosen = copy(self)
        chosen.told, chosen._lock = dict(told), Lock()
        with self._lock:
            chosen._open = {kind: net for kind, net in self._open.items() if self._tells_as(told, kind)}
        return chosen

    def _tells_as(self, told: Mapping[str, str | Path], kind: str) -> bool:
        return str(self.told.get(kind)) == str(told.get(kind))

    def of(self, kind: str) -> OpenControlNet:
        """The network for a kind of hint.

        Raises:
            CheckpointError: there is none, or it is something else, or for another model.
            HubError: it cannot be fetched.
        """
        with self._lock:  # or each thread would draw with its own
            if kind not in self._open:
                self._open[kind] = self._opened(kind)
            return self._open[kind]

    def _opened(self, kind: str) -> OpenControlNet:
        path = self._find(kind)
        try:
            control = open_control(
                path, variant="fp16" if self._half and path.is_dir() and _has_half(path) else None
            )
        except CheckpointError as error:
            if _is_picture(path):
                raise CheckpointError(
                    f"{path}: not a control network but a picture", found="picture"
                ) from error
            raise
        if control.kind == "ControlNet":
            config, swaps = _controlnet_config(control, kind, self._unet)
            network = self._built(control, lambda: ControlNet(config))
            return OpenControlNet(_name(path), path, network, swaps, config.pooled)
        adapter = _adapter_config(control)
        if adapter.widths != self._unet.widths:
            raise CheckpointError(_misfit(path, control.kind, adapter.widths, self._unet.widths))
        return OpenControlNet(_name(path), path, self._built(control, lambda: T2IAdapter(adapter)))

    def _find(self, kind: str) -> Path:
        if kind in self.told:
            return resolve_network(str(self.told[kind]), half=self._half)
        if kind in boxed_controls() and _fits_box(self._unet):
            return boxed_controls()[kind]
        if kind in PUBLISHED and self._unet.widths == UNetConfig.widths:
            return resolve_network(PUBLISHED[kind], half=self._half)
        there = ", ".join(sorted({*self.told, *(boxed_controls() if _fits_box(self._unet) else ())}))
        raise CheckpointError(
            f"control {kind}: this model has no network for it{f', only for {there}' if there else ''}; give one as "
            f"--control-net {kind}=FILE"
        )

    def _built(self, control: Control, make: Callable[[], nn.Module]) -> Residence[Any]:
        refuse_unlike(control, make)
        where = str(control.path)
        return self._reside(
            build(make, control.tensors, device=self._waiting, dtype=self._dtype, where=where)
        )


class _Changed(ControlNets):
    def __init__(self, of: ControlNets, change: Callable[[nn.Module], object]) -> None:
        self.told, self._open, self._lock = of.told, {}, Lock()
        self._of, self._change = of, change

    def choosing(self, told: Mapping[str, str | Path]) -> ControlNets:
        """As of the networks that they are copies of, and changed as these are."""
        return self._of.choosing(told).changed(self._change)

    def _opened(self, kind: str) -> OpenControlNet:
        net = self._of.of(kind)
        return replace(net, network=net.network.changed(self._change))


def describe_control(path: Path) -> dict[str, object]:
    """What a control network is, by the names of what is told; None for what its file does not say.

    Raises:
        CheckpointError: for a file that is none.
    """
    control = open_control(path)
    if control.kind == "ControlNet":
        try:
            config = ControlNetConfig.from_weights(control.tensors)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        widths, channels = config.unet.widths, config.hint_channels
    else:
        adapter = _adapter_config(control)
        widths, channels = adapter.widths, adapter.hint_channels
    return {
        "kind": f"a {control.kind} ({control.layout})",
        "for": f"a UNet with {', '.join(map(str, widths))} channels at its levels",
        "hint": "grey" if channels == 1 else f"{channels} channels",
        "parameters": f"{sum(control.tensors.spec(name).numel for name in control.tensors):,}",
        "title": control.metadata.get("modelspec.title"),
        "licence": control.metadata.get("modelspec.license"),
        "not read": ", ".join(control.unknown[:3]),
        "not imported": ", ".join(control.imports),
    }


def refuse_unlike(control: Control, make: Callable[[], nn.Module]) -> None:
    """Let only a network's whole set of tensors pass.

    Raises:
        CheckpointError: some are missing, or of other shapes.
    """
    with torch.device("meta"):
        wanted = make().state_dict()
    wrong = [
        name
        for name, tensor in wanted.items()
        if name not in control.tensors or control.tensors.spec(name).shape != tuple(tensor.shape)
    ]
    if wrong:
        raise CheckpointError(
            f"{control.path}: {len(wrong)} of a {control.kind}'s {len(wanted)} tensors are missing or misshapen, "
            f"first {wrong[0]}; fetch it again"
        )


def _controlnet_config(control: Control, kind: str, unet: UNetConfig) -> tuple[ControlNetConfig, bool]:
    """The shape of a ControlNet that fits the model, and whether its hints have blue first."""
    told, folder = told_config(control.metadata, control.path, "control"), control.config
    if not isinstance(told, dict):
        raise CheckpointError(f"{control.path}: its config of control is no JSON object; fetch it again")
    told = cast("dict[str, object]", told)
    numbers = {
        "heads": as_whole(told.get("heads", folder.get("attention_head_dim", unet.heads))),
        "groups": as_whole(told.get("groups", folder.get("norm_num_groups", unet.groups))),
    }
    if any(number is None for number in numbers.values()):
        raise CheckpointError(
            f"{control.path}: heads and groups of its config must be whole numbers; fetch it again"
        )
    pooled = bool(folder.get("global_pool_conditions", kind == "shuffle"))
    try:
        config = ControlNetConfig.from_weights(control.tensors, **numbers, pooled=pooled)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise CheckpointError(f"{control.path}: {error}") from error
    theirs, ours = config.unet, unet
    if (theirs.skip_widths, theirs.attention) != (ours.skip_widths, ours.attention):
        raise CheckpointError(_misfit(control.path, control.kind, theirs.widths, ours.widths))
    if theirs.context_width != ours.context_width:
        raise CheckpointError(
            f"{control.path}: a ControlNet for prompts {theirs.context_width} channels wide, and this model's are "
            f"{ours.context_width}; it was made for another model"
        )
    return config, folder.get("controlnet_conditioning_channel_order") == "bgr"


def _adapter_config(control: Control) -> T2IAdapterConfig:
    try:
        return T2IAdapterConfig.from_weights(control.tensors)
    except ValueError as error:
        raise CheckpointError(f"{control.path}: {error}") from error


def _misfit(path: Path, kind: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> str:
    return (
        f"{path}: a {kind} for a UNet with {', '.join(map(str, theirs))} channels at its levels, and this model's "
        f"has {', '.join(map(str, ours))}; it was made for another model"
    )


def _fits_box(unet: UNetConfig) -> bool:
    """Whether a UNet is shaped as that of the model in the box."""
    return any(_widths(path) == unet.widths for path in boxed_controls().values())


def _widths(path: Path) -> tuple[int, ...]:
    return ControlNetConfig.from_weights(open_control(path).tensors).unet.widths


def _has_half(folder: Path) -> bool:
    return any(".fp16." in file.name for file in folder.iterdir())


def _is_picture(path: Path) -> bool:
    try:
        if not path.is_file():  # opening a pipe waits for whoever writes to it
            return False
        with Image.open(path):
            return True
    except Exception:  # a stranger's file: Pillow's parsers raise whatever they stumble over
        return False


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem
