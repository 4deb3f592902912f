"""What says that memory ran out, in the words of Python, torch, the system and safetensors."""

import errno
import re

SAID = (
    "can't allocate memory",  # torch's DefaultCPUAllocator
    "cannot allocate memory",  # the system
    "out of memory",  # CUDA, MPS
    "bad_alloc",  # C++
    "failed to map segment",  # a library that is loaded
)
OTHER = ("static tls block", "operation not permitted")  # which are no matter of how much there is
_ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|[KMGT]iB)", re.IGNORECASE)


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or what it came of, is that there is no memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    said = str(error).lower() if isinstance(error, RuntimeError | ImportError) else ""
    if any(words in said for words in SAID) and not any(words in said for words in OTHER):
        return True
    return error.__cause__ is not None and is_shortage(error.__cause__)


def asked_for(error: BaseException) -> str | None:
    """How much memory was asked for in vain, such as "1.50 GiB", where the error says it."""
    if (asked := _ASKED.search(str(error))) is None:
        return asked_for(error.__cause__) if error.__cause__ else None
    number, unit = asked.groups()
    return f"{float(number) / 2**20:,.0f} MiB" if unit == "bytes" else f"{number} {unit}"
