"""How many threads of a CPU a network's work is worth, and computing that gives the same bits whatever there are.

Threads share the sums of some layers, and so round otherwise with another number of them. A deterministic pipeline
leaves what torch computes to one; inkpunk-winograd's kernels take all, since no bit of theirs depends on how many.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TypeVar, cast

import torch
from inkpunk_winograd import few_threads

Each = TypeVar("Each")

# Multiply-adds of a pass that are worth a thread. A pass has a few hundred layers, which all threads begin together.
# Those that sleep until then are woken in a hundredth of a millisecond. Those that spin keep from running, on a busy
# machine, the very one that they wait for: for milliseconds a layer, beside which it must not be small.
WORTH_WAKING = 2.5e8
WORTH_SPINNING = 6e10
SLEEPY = 100_000  # spins at most; OpenMP's own default is 300,000 or more, and without end where policy is "active"

# A parameter works at each latent pixel of a pass, but for the levels below the first: measured on Stable Diffusion.
UNET_WORK = 0.12
VAE_WORK = 4.0  # whose levels are larger than the latents

_within: ContextVar[bool] = ContextVar("_within", default=False)


def unet_work(parameters: int, rows: int, width: int, height: int) -> float:
    """About how many multiply-adds a pass of a UNet takes, for a picture of so many pixels."""
    return UNET_WORK * parameters * rows * width * height / 64


def vae_work(parameters: int, width: int, height: int) -> float:
    """About how many a VAE's decoder takes, for a picture of so many pixels."""
    return VAE_WORK * parameters * width * height / 64


def threads_worth(work: float) -> int:
    """How many threads a pass of so many multiply-adds gets, of those that torch may use."""
    return max(1, min(torch.get_num_threads(), int(work / (WORTH_WAKING if _sleep() else WORTH_SPINNING))))


@contextmanager
def computing(
    work: float, device: torch.device, *, deterministic: bool = False, fitting: bool = True
) -> Generator[None]:
    """Compute meanwhile, in this thread, with as many threads as the work is worth.

    The innermost has no say where they lie in each other.

    Args:
        work: multiply-adds of a pass.
        device: where.
        deterministic: have what torch computes have the same bits whatever threads there are; on CUDA, by its
            deterministic algorithms, which then are on for the process.
        fitting: without, torch takes what it may.
    """
    if _within.get():
        yield
        return
    token = _within.set(True)
    try:
        with _held(work, device, deterministic, fitting):
            yield
    finally:
        _within.reset(token)


def _held(
    work: float, device: torch.device, deterministic: bool, fitting: bool
) -> AbstractContextManager[None]:
    if device.type != "cpu":
        return _deterministic_algorithms() if deterministic else _as_it_is()
    worth = threads_worth(work) if fitting else torch.get_num_threads()
    return few_threads(1 if deterministic else worth, native=worth)


def each_within(within: Callable[[], AbstractContextManager[None]], steps: Iterator[Each]) -> Iterator[Each]:
    """The same, each computed within a context, which whoever takes them is not in."""
    try:
        while True:
            with within():
                step = next(steps, None)
            if step is None:
                return
            yield step
    finally:
        if isinstance(steps, Generator):  # what it holds is let go of at once where whoever takes them stops
            cast("Generator[Each]", steps).close()


@contextmanager
def _as_it_is() -> Generator[None]:
    yield


_lock = Lock()
_guests: list[tuple[bool, bool, bool]] = []  # what the first found is given back by the last


@contextmanager
def _deterministic_algorithms() -> Generator[None]:
    """torch's choice of algorithms, for as long as anybody computes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses
    with _lock:
        _guests.append(
            (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
                torch.backends.cudnn.benchmark,
            )
            if not _guests
            else _guests[0]
        )
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        with _lock:
            enabled, warns, benchmark = _guests.pop()
            if not _guests:
                torch.use_deterministic_algorithms(enabled, warn_only=warns)
                torch.backends.cudnn.benchmark = benchmark


def _sleep() -> bool:
    """Whether OpenMP's threads sleep soon while they wait: as far as its environment was set before it was loaded."""
    spins = os.environ.get("GOMP_SPINCOUNT", "")
    policy = os.environ.get("OMP_WAIT_POLICY", "").lower()
    return int(spins) <= SLEEPY if spins.isdigit() else policy == "passive"
