"""Whose threads share a kernel's tasks: those that torch computes with, so that no others wait beside them."""

import ctypes
import threading
from functools import cache

import torch._C

PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
ON_WINDOWS = ("libiomp5md.dll", "libomp140.x86_64.dll", "libomp140.aarch64.dll")


class Team(ctypes.Structure):
    """What team.h calls Team."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("parallel", "fork", "ask", "self")),
        ("threads", ctypes.c_ssize_t),
    ]


def team_of(threads: int) -> Team:
    """So many threads of torch's OpenMP runtime; of Python, where torch has another or none."""
    openmp = runtime()
    if (parallel := _address(openmp, "GOMP_parallel")) is not None:
        return Team(parallel=parallel, threads=threads)
    if (fork := _address(openmp, "__kmpc_fork_call")) is not None:
        ask, caller = (
            _address(openmp, name) for name in ("__kmpc_push_num_threads", "__kmpc_global_thread_num")
        )
        return Team(fork=fork, ask=ask, self=caller, threads=threads)
    return Team(parallel=ctypes.cast(_in_python, ctypes.c_void_p), threads=threads)


@cache
def runtime() -> ctypes.CDLL | None:
    """The OpenMP runtime whose threads torch computes with; None if it has none, or hides it."""
    if not torch.backends.openmp.is_available():
        return None
    # On Linux and macOS a name is looked up in a library and in all that it is linked to; on Windows in itself alone.
    for name in (torch._C.__file__, *ON_WINDOWS):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if _address(library, "omp_set_num_threads") is not None:
            return library
    return None


def _address(library: ctypes.CDLL | None, name: str) -> int | None:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    except AttributeError:
        return None


def _with_python_threads(body: int, data: int, threads: int, flags: int) -> None:
    """What GOMP_parallel does. Starting a thread takes some fifty microseconds; a kernel takes milliseconds."""
    work = BODY(body)
    others = [threading.Thread(target=work, args=(data,)) for _ in range(threads - 1)]
    for other in others:
        other.start()
    work(data)
    for other in others:
        other.join()


_in_python = PARALLEL(_with_python_threads)  # kept: C calls it
