"""How much memory there is, how much work took at its peak, and how to give some back."""

import ctypes
import mmap
import re
import sys
from bisect import bisect_right
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from torch import Tensor

WORTH_LETTING_GO = 64 << 20  # bytes: finding out what is mapped takes 20 ms


class Peak:
    """The most memory held at once, in bytes; known when the measured block has ended, None where nobody can say."""

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Generator[Peak]:
    """Measure a block: what torch held on a CUDA device, or else what the process held in main memory.

    On Linux the kernel's high-water mark is set back first, so the figure belongs to this block. Mapped checkpoint
    pages count as soon as they are read. Other systems keep no such mark, and the figure is None.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    resettable = sys.platform == "linux" and _reset_high_water_mark()
    yield peak
    if resettable:
        peak.bytes = _high_water_mark()


def _reset_high_water_mark() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # 5 resets VmHWM: proc(5)
    except OSError:
        return False
    return True


def _high_water_mark() -> int | None:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else None


def free_memory(device: torch.device) -> int | None:
    """Bytes that could be had on a device now, or None where nobody can say."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    if device.type == "cuda" and torch.cuda.is_available():
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


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
