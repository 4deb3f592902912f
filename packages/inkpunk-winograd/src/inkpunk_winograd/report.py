"""What `accelerate` made of a model, and why it left what it left."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]  # what all convolutions are

from inkpunk_winograd.acceleration import (
    Attending,
    ChannelsLast,
    Filtered,
    Linear,
    Products,
    Wide,
    may_attend,
    noting,
)
from inkpunk_winograd.choice import why_not_filtered
from inkpunk_winograd.linear import why_not_linear
from inkpunk_winograd.native.library import why_not_native
from inkpunk_winograd.wrapping import changes

SHOWN = 3  # names of layers with one fate, in the written report


@dataclass(frozen=True)
class Layer:
    """One layer's fate.

    Attributes:
        name: as in `named_modules()`; empty for the model itself.
        kind: its class.
        changed: whether `accelerate` changed it.
        why: what was changed, or why it was left; with inputs, the way that it took.
    """

    name: str
    kind: str
    changed: bool
    why: str


@dataclass(frozen=True)
class Report:
    """All convolutions, linear layers and attention of a model; as text, a summary.

    Attributes:
        layers: in the model's order.
        why_not_native: why no native kernels are in use, in one line; None where they are.
    """

    layers: tuple[Layer, ...]
    why_not_native: str | None

    @property
    def changed(self) -> int:
        """How many layers were changed."""
        return sum(layer.changed for layer in self.layers)

    def __str__(self) -> str:
        native = f"not in use: {self.why_not_native}" if self.why_not_native else "in use"
        lines = [f"{self.changed} of {len(self.layers)} layers changed; native kernels {native}"]
        fates: dict[tuple[bool, str, str], list[str]] = defaultdict(list)
        for layer in self.layers:
            fates[layer.changed, layer.kind, layer.why].append(layer.name or "the model itself")
        for (changed, kind, why), names in sorted(
            fates.items(), key=lambda fate: (not fate[0][0], -len(fate[1]))
        ):
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            what = "" if changed else "left: "
            lines.append(f"  {len(names):4} {kind}: {what}{why} ({', '.join(names[:SHOWN])}{more})")
        return "\n".join(lines)


def explain(module: nn.Module, *inputs: Any, **named: Any) -> Report:
    """Tell of each convolution, linear layer and attention of a model what `accelerate` changed, or why it did not.

    Args:
        module: accelerated, or not.
        inputs: if there are any, the model is run on them once, without gradients, and each changed layer tells the
            way that it took: whether an input is worth filtering depends on its size.
        named: likewise.
    """
    taken: dict[nn.Module, dict[str, None]] = defaultdict(dict)
    if inputs or named:
        with torch.no_grad(), noting(lambda layer, way: taken[layer].update({way: None})):
            module(*inputs, **named)
    layers: list[Layer] = []
    native = True
    for name, part in cast(Iterable[tuple[str, nn.Module]], module.named_modules()):
        if isinstance(part, _ConvNd | nn.Linear) or may_attend(part):
            done = [change for change in changes(part) if type(change) in _WAYS]
            why = "; ".join(taken.get(part, ())) or "; ".join(_WAYS[type(change)] for change in done)
            native = native and all(
                change.native for change in done if isinstance(change, Filtered | Products)
            )
            layers.append(Layer(name, type(part).__name__, bool(done), why or _why_left(part)))
    return Report(tuple(layers), why_not_native() if native else "accelerate(native=False) left them out")


_WAYS: dict[type, str] = {
    Filtered: "minimal filtering, or the direct way, whichever is cheaper for the input",
    ChannelsLast: "channels last",
    Linear: "oneDNN",
    Products: "products of bfloat16",
    Wide: "in float32, of bfloat16 weights",
    Attending: "native attention, where it calls torch's",
}


def _why_left(module: nn.Module) -> str:
    if isinstance(module, _ConvNd):
        return why_not_filtered(module) or "accelerate was not called, or told to leave convolutions"
    if isinstance(module, nn.Linear):
        if type(module) is not nn.Linear:
            return f"a {type(module).__name__}, not exactly an nn.Linear"
        return why_not_linear() or "not asked for"
    return why_not_native() or "not asked for"
