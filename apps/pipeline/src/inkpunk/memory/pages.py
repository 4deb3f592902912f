"""Pages of mapped files, given back to the system."""

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Iterable

import psutil
from torch import Tensor

READ_AT_ONCE = 256 << 20  # bytes of a mapped file that are in memory beside what is made of them
WORTH_LETTING_GO = 64 << 20  # bytes: finding out what is mapped takes 20 ms


class ReadOnce:
    """Tensors of mapped files that are not needed any more: their pages are let go of before they become many."""

    def __init__(self) -> None:
        self._read: list[Tensor] = []

    def add(self, tensor: Tensor) -> None:
        """Take one that was read."""
        self._read.append(tensor)
        if sum(each.numel() * each.itemsize for each in self._read) > READ_AT_ONCE:
            self.let_go()

    def let_go(self) -> None:
        """Let go of those that were read since."""
        let_go_of_pages(self._read)
        self._read.clear()


def let_go_of_pages(tensors: Iterable[Tensor]) -> None:
    """Let the system have the pages of mapped files that tensors lie in; worth it where they are not needed soon.

    Nothing is lost: a page that is asked for again comes from the file, as a rule from the system's own copy of it,
    which takes a fifth of a second for three gigabytes. A mapping that this process has written to is left alone, and
    so is what lies in no file. On Linux only.
    """
    spans = [(each.data_ptr(), each.numel() * each.itemsize) for each in tensors if each.device.type == "cpu"]
    if sys.platform != "linux" or sum(size for _, size in spans) < WORTH_LETTING_GO:
        return
    files: list[tuple[int, int]] = []
    for mapping in psutil.Process().memory_maps(grouped=False):
        if mapping.path.startswith("/") and not mapping.anonymous and not mapping.swap:
            low, high = (int(end, 16) for end in mapping.addr.split("-"))
            files.append((low, high))
    files.sort()
    madvise = ctypes.CDLL(None).madvise
    for first, size in spans:
        start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
        whole = (first + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        at = bisect_right(files, (start, sys.maxsize)) - 1
        if whole > 0 and at >= 0 and start + whole <= files[at][1]:
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(whole), mmap.MADV_DONTNEED)
