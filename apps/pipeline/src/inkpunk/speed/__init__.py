"""What makes the networks fast, from outside: they stay plain modules, and each way of it can be left out.

No way of it changes what is computed, only the order of sums. Measured by `tools/benchmark`.
"""

from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from inkpunk_clip import TextEncoder
from inkpunk_unet import ControlNet, T2IAdapter, UNet, UNetEncoder
from inkpunk_vae import VAE, TinyVAE
from inkpunk_winograd import accelerate, is_eligible, wrap
from torch import Tensor, nn

from inkpunk.memory.allocator import GivingBackPieces, keep_freed_memory
from inkpunk.speed.attention import speed_attention
from inkpunk.speed.blocks import work_in_place
from inkpunk.speed.graphs import Recorded
from inkpunk.speed.guided import share_guided_work
from inkpunk.speed.memo import remember_what_stays

COMPILER = "inductor"  # torch.compile's backend


@dataclass(frozen=True)
class Speed:
    """Which ways to take.

    Attributes:
        winograd: on a CPU, 3x3 convolutions by minimal filtering (inkpunk-winograd).
        channels_last: on a CPU or CUDA, channels as neighbours in memory, which their convolutions prefer.
        linears: on a CPU in float32, linear layers by oneDNN, on processors where that is faster.
        threads: on a CPU, no more threads for a layer than its work is worth (with a C compiler).
        attention: on a CPU in float32, attention in one pass over memory, where a C compiler can build it.
        in_place: no new memory where the old is not needed any more; on a CPU, hidden units in parts that its cache
            holds.
        memo: on a CPU, keys and values of a prompt computed once for all steps, and what depends on the timestep
            alone once for all pictures.
        share: on a CPU, what guidance's two predictions have in common computed once.
        keep_memory: on a CPU, keep freed memory in the process for its next tensors (`keep_freed_memory`).
        graphs: on CUDA, a pass of the UNet recorded once, and launched at once from then on (`inkpunk.speed.graphs`).
        compile: torch.compile, for CUDA: the first step takes minutes, those after it less. In the place of what
            changes modules, not with it.
    """

    winograd: bool = True
    channels_last: bool = True
    linears: bool = True
    threads: bool = True
    attention: bool = True
    in_place: bool = True
    memo: bool = True
    share: bool = True
    keep_memory: bool = True
    graphs: bool = True
    compile: bool = False

    @property
    def told(self) -> str:
        """What differs from all ways that are usual: "without share, winograd", or "" for nothing."""
        left_out = sorted(way.name for way in fields(self) if way.default and not getattr(self, way.name))
        words = [f"without {', '.join(left_out)}"] if left_out else []
        return "; ".join([*words, *(["compiled"] if self.compile else [])])


#: The networks as they are, for comparison and for training: in bfloat16 they compute all in it, even on a CPU.
PLAIN = Speed(**dict.fromkeys((way.name for way in fields(Speed)), False))


def speed_up(*networks: nn.Module, device: torch.device, speed: Speed, narrow: bool = False) -> None:
    """Make networks, for inference on a device, faster in place: text encoders, VAEs, UNets and more.

    Args:
        networks: any.
        device: where they compute.
        speed: which ways to take.
        narrow: on a CPU, networks of bfloat16 weights that take and give float32: they multiply in bfloat16, by any
            ways, and compute all else in float32.
    """
    on_cpu = device.type == "cpu"
    if on_cpu and speed.keep_memory:
        keep_freed_memory()
    for network in networks:
        if speed.compile:
            _compile(network)
        else:
            _change(network, device, speed, narrow)
        # Apple's MPS is left out: nobody here could try it.
        if speed.channels_last and device.type in ("cpu", "cuda"):
            filtered = on_cpu and speed.winograd and not speed.compile and not narrow
            _put_channels_last(network, *_first_convolutions(network), filtered=filtered)


def _compile(network: nn.Module) -> None:
    parts = (network.encoder, network.decoder) if isinstance(network, VAE) else (network,)
    for part in () if isinstance(network, TextEncoder) else parts:
        cast(Any, part).compile(backend=COMPILER)


def _change(network: nn.Module, device: torch.device, speed: Speed, narrow: bool) -> None:
    """Exchange what layers do, by the ways that are for this network."""
    on_cpu = device.type == "cpu"
    like_unet = isinstance(network, UNetEncoder)
    if on_cpu:
        accelerate(
            network,
            convolutions=speed.winograd,
            linears=speed.linears,
            threads=speed.threads,
            attention=narrow and speed.attention and not like_unet,
            channels_last=False,  # a network of our own is turned once, below
            dtype=torch.bfloat16 if narrow else torch.float32,
        )
        if speed.attention and like_unet:
            speed_attention(network, torch.bfloat16 if narrow else torch.float32)
    if speed.in_place:
        work_in_place(network)
    if on_cpu and speed.memo and like_unet:
        remember_what_stays(network)
    if on_cpu and speed.share and like_unet:
        share_guided_work(network)
    if on_cpu and speed.keep_memory and isinstance(network, UNet):
        wrap(network, GivingBackPieces())
    if device.type == "cuda" and speed.graphs and isinstance(network, UNet):
        wrap(network, Recorded())


def _first_convolutions(network: nn.Module) -> tuple[nn.Module, ...]:
    """Those that take what is in no order yet."""
    match network:
        case VAE():
            return network.encoder.conv_in, network.decoder.conv_in
        case TinyVAE():
            halves = network.encoder, network.decoder
            return tuple(half.conv_in for half in halves if half is not None)
        case ControlNet():
            return network.conv_in, network.hint.convolutions[0]
        case UNetEncoder() | T2IAdapter():
            return (network.conv_in,)
        case _:
            return ()


def _put_channels_last(network: nn.Module, *first: nn.Module, filtered: bool) -> None:
    """Turn the weights of convolutions, and the inputs of the first, from which all else follows.

    Minimal filtering takes weights in any order, and kernels of one pixel have but one. Leaving these alone spares a
    copy of most of a network, which is read from the file's own pages otherwise.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or module.kernel_size == (1, 1):
            continue
        if not (filtered and is_eligible(module)):
            turned = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(turned, requires_grad=module.weight.requires_grad)
    for module in first:
        module.register_forward_pre_hook(_turn)


def _turn(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.contiguous(memory_format=torch.channels_last) for each in inputs)
