"""How the C library keeps memory."""

import ctypes
import platform
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psutil
from inkpunk_winograd import Inner
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
LARGE = 1 << 30
MAP = 8 << 20  # bytes: smaller ones are many, and find room
SMALL = 1 << 20
PIECES = 160 << 20  # bytes: what four or five of a UNet's steps leave at 512x512

_keeping = False


def keep_freed_memory() -> bool:
    """Have this process keep what tensors free, up to a gibibyte each, for the next ones; tell whether it will.

    By default glibc gives every large block back to the system, which clears each of its pages when they are asked
    for again: a feature map of 134 MB takes 55 ms to add to, of which adding is 8. Acts on the whole process, and
    only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    global _keeping
    mallopt = ctypes.CDLL(None).mallopt
    _keeping = bool(mallopt(M_MMAP_THRESHOLD, LARGE) and mallopt(M_TRIM_THRESHOLD, 2 * LARGE - 1))
    return _keeping


def return_freed_memory() -> bool:
    """Have this process give back what tensors free at once, but for small ones; tell whether it will.

    The opposite of `keep_freed_memory`, after which holes lie between tensors that live long, as a training's do.
    Acts on the whole process, and only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    global _keeping
    _keeping = False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, SMALL) and mallopt(M_TRIM_THRESHOLD, SMALL))


def give_back_freed_memory() -> None:
    """Give the system what tensors freed, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def giving_back_maps() -> Generator[None]:
    """Within it, a process that keeps freed memory gives back what large maps free, at once.

    For work whose maps are of ever other sizes, as a VAE's: of those that are freed none has room for the next, least
    of all where glibc has to align it, and what is held comes to twice what is in use. Costs the clearing of pages
    that `keep_freed_memory` tells of.
    """
    if not _keeping:
        yield
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, MAP)
    try:
        yield
    finally:
        mallopt(M_MMAP_THRESHOLD, LARGE)


class GivingBackPieces:
    """Around a network that is called again and again: what it leaves in pieces is given back once it has grown.

    From pass to pass a little less of what is freed fits what is asked for: 40 MB in a UNet's at 512x512. Giving back
    after each pass would have all its memory cleared each time.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._held: int | None = None  # after the first pass since

    def __call__(self, network: nn.Module, inner: Inner, *inputs: Any, **named: Any) -> Any:
        """What the network gives."""
        result = inner(network, *inputs, **named)
        held = psutil.Process().memory_info().rss
        if self._held is None:
            self._held = held
        elif held > self._held + PIECES:
            give_back_freed_memory()
            self._held = None
        return result

    def __reduce__(self) -> tuple[type["GivingBackPieces"], tuple[()]]:
        return GivingBackPieces, ()
