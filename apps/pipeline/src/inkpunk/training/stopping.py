"""Ctrl-C, as a wish to stop when the step that is being computed is done."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether it was asked for."""

    asked = False


@contextmanager
def stop_asked() -> Generator[Stop]:
    """Take the first Ctrl-C of the block as a wish; the second one ends at once, as ever."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # which alone is told of signals
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
