"""On CUDA, what a pass of the UNet launches, recorded once and then launched at once.

A pass has many hundred kernels, which Python and torch launch one by one: where each has little to compute, a fast
device waits most of the time. Played back as a CUDA graph they are the same kernels in the same order.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import torch
from inkpunk_unet import Residuals, UNet
from inkpunk_winograd import Inner
from jaxtyping import Float, Real
from torch import Tensor

_C = cast(Any, torch)._C

Latents = Float[Tensor, "batch channels height width"]
Timesteps = Real[Tensor, " batch"] | Real[Tensor, ""]
Context = Float[Tensor, "batch tokens context_width"]

DEVICE = "cuda"
MOST = 4 * 64 * 64
"""Latent pixels of a batch: two guided pictures of 512x512. Of four, kernels take longer than their launches even on
an H200; nothing is gained then, and a recording keeps the memory that it computes in."""
KEPT = 4  # recordings of a network, the last ones used: guided and not, with control and without


@dataclass
class Recording:
    """A recorded pass: it reads `inputs`, and leaves its prediction in `output`."""

    replay: Callable[[], None]
    inputs: list[Tensor]
    output: Float[Tensor, "batch out_channels height width"]
    weights: Sequence[tuple[Tensor, int]]

    def still_holds(self, network: UNet) -> bool:
        """Whether the network's weights are where they were: it would not see others."""
        return next(network.parameters()) is self.weights[0][0] and all(
            weight.data_ptr() == address for weight, address in self.weights
        )

    def play(self, given: list[Tensor]) -> Float[Tensor, "batch out_channels height width"]:
        """The prediction for other inputs of the same shapes."""
        for held, new in zip(self.inputs, given, strict=True):
            held.copy_(new)
        self.replay()
        return self.output.clone()


class Recorded:
    """Around a UNet: the first pass of a shape is a plain one, the second is recorded, and others are played back.

    Hooks on the network's parts are called in those two alone. Where a pass cannot be recorded, as with a hook that
    waits for the device, all stay plain.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._known: OrderedDict[object, Recording | None] = OrderedDict()
        self._lock = Lock()  # a recording has one place for its inputs
        self._refused = False

    def __call__(
        self,
        network: UNet,
        inner: Inner,
        latents: Latents,
        timesteps: Timesteps,
        context: Context,
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "batch out_channels height width"]:
        """What the network gives."""
        inputs = [latents, timesteps, context, *_entries(residuals)]
        given = [each for each in inputs if each is not None]
        if self._refused or not _is_worth_it(given):
            return inner(network, latents, timesteps, context, residuals)
        key = tuple(each if each is None else (each.shape, each.dtype) for each in inputs)
        with self._lock:
            met, known = key in self._known, self._known.pop(key, None)
            if met and (known is None or not known.still_holds(network)):
                try:
                    known = record(network, inner, latents, timesteps, context, residuals)
                except RuntimeError as error:
                    logging.getLogger("inkpunk").debug("CUDA graph: not recorded: %s", error)
                    self._refused = True
                    self._known.clear()
                    return inner(network, latents, timesteps, context, residuals)
            self._known[key] = known  # as the latest
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            if known is not None:
                return known.play(given)
        return inner(network, latents, timesteps, context, residuals)

    def __reduce__(self) -> tuple[type["Recorded"], tuple[()]]:
        return Recorded, ()  # a copy, which may have other weights, records for itself


def record(
    network: UNet,
    inner: Inner,
    latents: Latents,
    timesteps: Timesteps,
    context: Context,
    residuals: Residuals | None,
) -> Recording:
    """Record a pass, of which nothing is computed yet.

    Raises:
        RuntimeError: for a pass that waits for the device, or for which there is no memory.
    """
    held = residuals and residuals.mapped(torch.clone)
    inputs = latents.clone(), timesteps.clone(), context.clone()
    replay, output = captured(lambda: inner(network, *inputs, held))
    weights = [(weight, weight.data_ptr()) for weight in network.parameters()]
    entries = [entry for entry in _entries(held) if entry is not None]
    return Recording(replay, [*inputs, *entries], output, weights)


def captured(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """What computes anew, from the same memory into the same, and where its result then is."""
    graph = torch.cuda.CUDAGraph()
    # other threads may use the device meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = compute()
    return graph.replay, result


def _entries(residuals: Residuals | None) -> tuple[Tensor | None, ...]:
    return () if residuals is None else (*residuals.skips, residuals.middle, *residuals.levels)


def _is_worth_it(given: list[Tensor]) -> bool:
    latents = given[0]
    if latents.device.type != DEVICE or latents.numel() // latents.shape[1] > MOST:
        return False
    return all(type(each) is Tensor for each in given) and not _is_watched()  # not fake ones, say


def _is_watched() -> bool:
    """Whether somebody wants more than the numbers: gradients, a trace, another precision, a recording of theirs."""
    return bool(
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled(DEVICE)
        or torch.cuda.is_current_stream_capturing()
        or _C._len_torch_dispatch_stack()
        or _C._functorch.peek_interpreter_stack() is not None
    )
