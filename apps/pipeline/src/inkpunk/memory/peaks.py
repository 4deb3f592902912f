"""How much memory work took at its peak."""

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch


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
