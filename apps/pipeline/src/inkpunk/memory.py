"""How much memory there is, how much work took at its peak, and how to give some back."""

import ctypes
import mmap
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from torch import Tensor

MADV_PAGEOUT = 21  # madvise(2), Linux


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


def let_go_of_pages(tensor: Tensor) -> None:
    """Tell the system that a tensor's numbers are not needed soon; worth it where they lie in a mapped file.

    Nothing is lost, not even changes to them: what is asked for again is read again. On Linux only.
    """
    if sys.platform != "linux" or tensor.device.type != "cpu":
        return
    first, size = tensor.data_ptr(), tensor.numel() * tensor.itemsize
    start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = (first + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if whole > 0:  # a refusal does no harm: the pages stay
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(whole), MADV_PAGEOUT)
