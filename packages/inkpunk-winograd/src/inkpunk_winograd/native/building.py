"""A C source built by the machine's own compiler on first use, and kept for the next.

Nobody needs a compiler: without one, or with one that fails, there is no library, and a line that says why.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
SECONDS_TO_COMPILE = 120
STALE = 3600
UNFINISHED = re.compile("tmp[a-z0-9_]{8}")  # as tempfile calls them


class NotBuiltError(Exception):
    """There is no library; the message says why, in one line."""


def build_library(source: Path) -> ctypes.CDLL:
    """The library of a C source that needs nothing but team.h and the C library.

    It is built once for each source, compiler and kind of processor, in half a second or so, and kept in the user's
    cache: `$XDG_CACHE_HOME/inkpunk/native`, or `~/.cache/inkpunk/native`.

    Raises:
        NotBuiltError: no compiler, one that fails, or no place to keep it.
    """
    if platform.system() not in ("Linux", "Darwin"):
        raise NotBuiltError(f"they are built on Linux and macOS, not on {platform.system()}")
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotBuiltError(f"no C compiler: none of {', '.join(COMPILERS)} is in the PATH")
    try:
        return ctypes.CDLL(str(_built(source, compiler)))
    except subprocess.CalledProcessError as error:
        said = next(
            (line for line in error.stderr.decode(errors="replace").splitlines() if "error" in line), ""
        )
        raise NotBuiltError(f"{compiler} cannot build {source.name}: {said or error}") from error
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise NotBuiltError(str(error)) from error  # no home, no place to write, nothing that can be loaded


def _built(source: Path, compiler: str) -> Path:
    """The shared library's file, compiled unless it is there."""
    built = _folder() / f"{source.stem}-{_key(source, compiler)}.so"
    _clear_leftovers(built.parent)
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=built.parent) as unfinished:
            fresh = Path(unfinished) / built.name
            command = [compiler, *FLAGS, str(source), "-o", str(fresh)]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_TO_COMPILE)
            fresh.replace(built)  # at once: another process may be doing the same
    return built


def _clear_leftovers(folder: Path) -> None:
    """Delete the folders of builds that were killed: no build may take as long as they are old."""
    for path in [*folder.iterdir()]:
        with contextlib.suppress(OSError):
            stale = time.time() - path.stat().st_mtime > STALE
            if stale and UNFINISHED.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)


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
    own = [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*own, compiler, *FLAGS, platform.machine(), features]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
