"""Ctrl-C that counts, also where a library takes it for an error of its own and goes on."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts() -> Generator[Callable[[], None]]:
    """Give a function that raises a Ctrl-C which was swallowed once more, to be called now and then.

    Torch swallows some while it is imported, which takes seconds.
    """
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def look() -> None:
        if pressed:
            raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()  # no other is ever interrupted
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield look
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
