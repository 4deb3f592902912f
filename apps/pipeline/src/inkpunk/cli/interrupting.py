"""Ctrl-C that counts, also where a library takes it for an error of its own and goes on."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_pressed = threading.Event()


@contextmanager
def interrupts() -> Generator[None]:
    """Remember a Ctrl-C of the block, for `was_interrupted` and `look_for_interrupts`.

    Torch swallows some while it is imported, which takes seconds, or makes other errors of them.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()  # no other is ever interrupted
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _pressed.clear()
    signal.signal(signal.SIGINT, _press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pressed.clear()


def was_interrupted() -> bool:
    """Whether there was a Ctrl-C, whatever became of it."""
    return _pressed.is_set()


def look_for_interrupts() -> None:
    """Raise a Ctrl-C that was swallowed once more, to be called now and then."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _press(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    raise KeyboardInterrupt
