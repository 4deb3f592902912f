"""A C source built by the machine's own compiler on first use, and kept for the next.

Nobody needs a compiler: without one, or with one that fails, there is no library and the caller has another way.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC")
SECONDS_TO_COMPILE = 120
SWITCH = "INKPUNK_NATIVE"  # an environment variable: 0 builds and loads nothing


def build_library(source: Path) -> ctypes.CDLL | None:
    """The library of a C source that needs nothing but OpenMP; None where it cannot be built.

    It is built once for each source, compiler and kind of processor, in half a second or so, and kept in the user's
    cache: `$XDG_CACHE_HOME/inkpunk/native`, or `~/.cache/inkpunk/native`.
    """
    if os.environ.get(SWITCH) == "0" or platform.system() not in ("Linux", "Darwin"):
        return None
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_built(source, compiler)))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None  # no OpenMP, an old compiler, no home, no place to write: all the same to who asks


def _built(source: Path, compiler: str) -> Path:
    """The shared library's file, compiled unless it is there."""
    built = _folder() / f"{source.stem}-{_key(source, compiler)}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=built.parent) as unfinished:
            fresh = Path(unfinished) / built.name
            command = [compiler, *FLAGS, str(source), "-o", str(fresh)]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_TO_COMPILE)
            fresh.replace(built)  # at once: another process may be doing the same
    return built


def _folder() -> Path:
    """Where libraries are kept: a folder that nobody else may write to, since what is in it is run.

    Raises:
        PermissionError: it is somebody else's, or open to others.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inkpunk" / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder}: must be yours, and writable by nobody else")
    return folder


def _key(source: Path, compiler: str) -> str:
    """What a library depends on: source, compiler and its flags, and the processor that `native` means."""
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text(errors="replace").splitlines() if processor.exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    parts = [source.read_text(), compiler, *FLAGS, platform.machine(), features]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
