"""The libraries that came with the package, compiled when its wheel was built, for each level of processors."""

import ctypes
import hashlib
import json
import platform
from pathlib import Path

import torch

from inkpunk_winograd.native.building import NotBuiltError

FOLDER = Path(__file__).with_name("prebuilt")  # only in wheels for one platform
LIST = "libraries.json"  # their SHA-256, by name
SUFFIXES = {"Linux": ".so", "Darwin": ".dylib", "Windows": ".dll"}
X86 = {
    "AVX512": "avx512",
    "AVX2": "avx2",
}  # by torch's name for the processor: it has looked what the system allows
LEAST = "sse2"  # what every x86-64 has; many that torch calls no more have some more
BFLOAT16 = "avx512bf16"  # the one level that products of bfloat16 are compiled for; who has less never asks
NARROW = ("products", "narrow_attention")


def level() -> str | None:
    """The best of the levels that this processor has; None if it's of no kind that libraries are compiled for."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return X86.get(torch.backends.cpu.get_cpu_capability(), LEAST)
    return "arm64" if machine in ("aarch64", "arm64") else None


def prebuilt_library(kernel: str) -> ctypes.CDLL:
    """The library that came with the package for this machine.

    Raises:
        NotBuiltError: none came, or it is not what was built.
    """
    name = f"{kernel}-{BFLOAT16 if kernel in NARROW else level()}{SUFFIXES.get(platform.system(), '')}"
    try:
        hashes = json.loads((FOLDER / LIST).read_bytes())
        if name not in hashes:
            raise NotBuiltError(f"{name} did not come with the package")
        # A library that was cut off would end the process that loads it.
        if hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != hashes[name]:
            raise NotBuiltError(f"{FOLDER / name} is damaged: install inkpunk-winograd again")
        return ctypes.CDLL(str(FOLDER / name))
    except FileNotFoundError:
        raise NotBuiltError("no libraries came with the package") from None
    except (OSError, ValueError, TypeError) as error:
        raise NotBuiltError(f"{FOLDER / name}: {error}") from error
