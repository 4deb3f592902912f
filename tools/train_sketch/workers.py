"""Two training processes of one thread each, which average their gradients once a step.

On a machine shared with others this loses far less than two threads that wait for each other in every
operation.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor


def _enter(rank: int, count: int, port: int, work: Callable[..., None], arguments: tuple) -> None:
    torch.set_num_threads(1)
    if count > 1:
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
        dist.init_process_group("gloo", rank=rank, world_size=count)
    work(rank, count, *arguments)
    if count > 1:
        dist.barrier()
        dist.destroy_process_group()


def run(count: int, work: Callable[..., None], *arguments: object) -> None:
    """Call `work(rank, count, *arguments)` in `count` processes of their own, or in this one if it is one."""
    if count == 1:
        _enter(0, 1, 0, work, arguments)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the daemons too; the signal alone would not
    mp.spawn(_enter, (count, port, work, arguments), nprocs=count, daemon=True)


def place() -> tuple[int, int]:
    """This worker's number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def half_precision() -> torch.autocast:
    """Where the processor multiplies bfloat16, convolutions and products are computed in it: twice as fast."""
    return torch.autocast(
        "cpu", torch.bfloat16, enabled=torch.cpu.get_capabilities().get("avx512_bf16", False)
    )


def average(tensors: Iterable[Tensor]) -> None:
    """Replace each worker's tensors by their mean over the workers."""
    if not dist.is_initialized():
        return
    tensors = list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))
