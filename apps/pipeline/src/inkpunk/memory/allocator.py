"""How the C library keeps memory."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
LARGE = 1 << 30
SMALL = 1 << 20


def keep_freed_memory() -> bool:
    """Have this process keep what tensors free, up to a gibibyte each, for the next ones; tell whether it will.

    By default glibc gives every large block back to the system, which clears each of its pages when they are asked
    for again: a feature map of 134 MB takes 55 ms to add to, of which adding is 8. Acts on the whole process, and
    only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE) and mallopt(M_TRIM_THRESHOLD, 2 * LARGE - 1))


def return_freed_memory() -> bool:
    """Have this process give back what tensors free at once, but for small ones; tell whether it will.

    The opposite of `keep_freed_memory`, after which holes lie between tensors that live long, as a training's do.
    Acts on the whole process, and only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, SMALL) and mallopt(M_TRIM_THRESHOLD, SMALL))


def give_back_freed_memory() -> None:
    """Give the system what tensors freed, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
