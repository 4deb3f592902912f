"""Peers in processes of their own: what one of them dies of harms no other."""

import multiprocessing
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


class PeerFailed(Exception):
    """A peer could not be imported, or broke, or was killed; the message is one line."""


class Process:
    """A function that runs in a process of its own, and sends what it finds through a connection."""

    def __init__(self, target: Callable[..., None], *arguments: object):
        """Start it; the connection becomes its last argument."""
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_run, args=(target, *arguments, there), daemon=True)
        self._process.start()
        there.close()

    def send(self, message: object) -> None:
        """Ask for something; nobody hears it in a process that died, as the next answer tells."""
        with suppress(OSError):
            self._connection.send(message)

    def receive(self) -> Any:
        """Wait for what it sends next.

        Raises:
            PeerFailed: if it sends nothing more.
        """
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            why = "it was killed, mostly for want of memory" if code == -9 else f"it ended with status {code}"
            raise PeerFailed(why) from None
        if isinstance(found, PeerFailed):
            raise found
        return found

    def end(self) -> None:
        """Wait for its end."""
        self._connection.close()
        self._process.join()


def ask(target: Callable[..., None], *arguments: object) -> Any:
    """Run a function in a process of its own, and return the one thing it sends."""
    process = Process(target, *arguments)
    found = process.receive()
    process.end()
    return found


def _run(target: Callable[..., None], *arguments: Any) -> None:
    """In the process: tell in one line what went wrong."""
    with suppress(OSError):  # for want of memory, Linux shall end a peer and nothing else
        Path("/proc/self/oom_score_adj").write_text("1000")
    warnings.simplefilter("ignore")  # of other people's programs, which would bury our lines
    try:
        target(*arguments)
    except KeyboardInterrupt:
        pass
    except Exception as error:  # whatever other people's programs raise
        first = (str(error).strip().splitlines() or [""])[0]
        with suppress(OSError):
            arguments[-1].send(PeerFailed(f"{type(error).__name__}: {first}"))
