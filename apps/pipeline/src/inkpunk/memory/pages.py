"""Pages of mapped files, given back to the system."""

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable

import torch
from torch import Tensor

READ_AT_ONCE = 256 << 20  # bytes of a mapped file that are in memory beside what is made of them
WORTH_LETTING_GO = 64 << 20  # bytes: fewer are not worth being mapped anew

# Linux tells of each page of a process in 64 bits (proc(5), /proc/pid/pagemap).
PAGEMAP = "/proc/self/pagemap"
PAGEMAP_BYTES = 8
FLAGS, IN_FILE, SWAPPED, PRESENT = 61, 1, 2, 4  # the flags' lowest bit, and what each of them means there


class ReadOnce:
    """Tensors of mapped files that are not needed any more: their pages are let go of before they become many."""

    def __init__(self) -> None:
        self._read: list[Tensor] = []
        self._bytes = 0

    def add(self, tensor: Tensor) -> None:
        """Take one that was read."""
        self._read.append(tensor)
        self._bytes += tensor.numel() * tensor.itemsize
        if self._bytes > READ_AT_ONCE:
            self.let_go()

    def let_go(self) -> None:
        """Let go of those that were read since."""
        let_go_of_pages(self._read)
        self._read.clear()
        self._bytes = 0


def let_go_of_pages(tensors: Iterable[Tensor]) -> None:
    """Let the system have the pages of mapped files that tensors lie in; worth it where they are not needed soon.

    Nothing is lost: a page that is asked for again comes from the file, as a rule from the system's own copy of it,
    which takes a fifth of a second for three gigabytes. A tensor of which this process has written any page is left
    alone, and so is what lies in no file. On Linux only.
    """
    spans = [(each.data_ptr(), each.numel() * each.itemsize) for each in tensors if each.device.type == "cpu"]
    if sys.platform != "linux" or sum(size for _, size in spans) < WORTH_LETTING_GO:
        return
    madvise = ctypes.CDLL(None).madvise
    try:
        pagemap = os.open(PAGEMAP, os.O_RDONLY)
    except OSError:  # a system that does not tell
        return
    try:
        for first, size in spans:
            page = -(-first // mmap.PAGESIZE)
            pages = (first + size) // mmap.PAGESIZE - page
            if pages > 0 and _are_as_in_file(pagemap, page, pages):
                start, whole = page * mmap.PAGESIZE, pages * mmap.PAGESIZE
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(whole), mmap.MADV_DONTNEED)
    finally:
        os.close(pagemap)


def _are_as_in_file(pagemap: int, page: int, pages: int) -> bool:
    """Whether each of some pages of this process is a file's, as it is there, or is not in memory at all."""
    told = bytearray(os.pread(pagemap, pages * PAGEMAP_BYTES, page * PAGEMAP_BYTES))
    flags = torch.frombuffer(told, dtype=torch.int64) >> FLAGS & (IN_FILE | SWAPPED | PRESENT)
    known = (flags == (IN_FILE | PRESENT)) | (flags & (SWAPPED | PRESENT) == 0)
    return len(known) == pages and bool(known.all())
