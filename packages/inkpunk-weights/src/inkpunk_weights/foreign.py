"""Calls into libraries of other languages, which lose or rename what Python would raise there."""

import errno
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

from inkpunk_weights.errors import CheckpointError

NO_MEMORY = ("cannot allocate memory", "can't allocate memory", "bad_alloc")


@contextmanager
def interrupts_deferred() -> Generator[None]:
    """Hold Ctrl-C back until the block is left, then let it act.

    For blocks of microseconds: where it strikes within torch's C++, it can come out as a ValueError, and is lost.
    """
    # Python delivers signals to the main thread; any other is never interrupted.
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or not callable(signal.getsignal(signal.SIGINT)):
        yield
        return
    arrived = list[int]()
    before = signal.signal(signal.SIGINT, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def memory_told() -> Generator[None]:
    """Turn what says in other words that there is no memory into a MemoryError: no file is to blame for it."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOMEM or any(
            word in str(error).lower() for word in NO_MEMORY
        ):
            raise MemoryError(str(error)) from error
        raise


@contextmanager
def callbacks_told() -> Generator[None]:
    """Turn a RuntimeError that comes of what Python raised within a callback back into that: Ctrl-C, a full disk."""
    try:
        yield
    except RuntimeError as error:
        within: BaseException | None = error
        while within is not None and not isinstance(within, KeyboardInterrupt | OSError | MemoryError):
            within = within.__cause__ or within.__context__
        if within is None:
            raise
        raise within from None
