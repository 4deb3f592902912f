"""How much a stranger's file may ask for before it is read: a checkpoint much, an embedding little."""

import sys
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the memory and the time that reading a file's description can take: 64 MiB beside the result.

    Args:
        description: bytes of the pickle or the safetensors header that says which tensors there are.
        steps: instructions of a pickle, and items that they pass on; one can cost some 100 bytes.
        directory: bytes of a zip file's; its names are kept twice, a character in up to four bytes.
        records: of a zip file; each costs some 500 bytes.
        unpacked: bytes that a packed record of a zip file may unpack to.
    """

    description: int
    steps: int
    directory: int
    records: int
    unpacked: int


# SD v1.5 has a pickle of 0.3 MB, a few MB with every training leftover, 60 thousand steps and 1,135 records.
CHECKPOINT: Final = Limits(6 << 20, 400_000, 4 << 20, 20_000, sys.maxsize)

# The largest in use take 0.4 MB in one record, 11 KB of pickle and 200 steps; notes may hold a small picture.
EMBEDDING: Final = Limits(2 << 20, 50_000, 2 << 20, 10_000, 16 << 20)
