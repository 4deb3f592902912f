"""One parser's run: inputs, and what came of them."""

import multiprocessing
import os
import re
import resource
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from random import Random

from .corpus import CANARY, corpus
from .parsers import PARSERS, one_line

COLUMNS = ("inputs", "read", "refused", "uncaught", "code run", "hangs", "above 64 MiB")
SECONDS = 5
MOST_GROWTH = 64 << 20
ODD = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f" * 8,
    b"9" * 20,
    b'"',
    b"[",
    b"{",
    b"\\ud800",
    b"\\n",
    b"\n",
    b"(",
    b".",
    b"null",
)


@dataclass
class Counts:
    """What came of the inputs, in the order of COLUMNS."""

    inputs: int = 0
    read: int = 0
    refused: int = 0
    uncaught: int = 0
    run: int = 0
    hangs: int = 0
    large: int = 0


class Hang(BaseException):
    """Five seconds are over; no reader's `except Exception` stops it."""


def _hang(*_: object) -> None:
    raise Hang


def damaged(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A copy with one to four damages."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at, length = random.randint(0, len(changed)), random.choice((1, 1, 2, 4, 8, 40))
        match random.choice(("flip", "set", "cut", "odd", "noise", "remove", "move", "other")):
            case "flip" if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case "set" if at < len(changed):
                changed[at] = random.randrange(256)
            case "cut":
                del changed[at:]
            case "odd":
                changed[at : at + random.choice((0, 1, 8))] = random.choice(ODD)
            case "noise":
                changed[at:at] = random.randbytes(length)
            case "remove":
                del changed[at : at + length]
            case "move":
                start = random.randint(0, len(changed))
                changed[at : at + length] = changed[start : start + random.randint(1, 200)]
            case _:
                other = random.choice(others)
                start = random.randint(0, len(other))
                changed[at : at + length] = other[start : start + length]
    return bytes(changed)


def _in_time(read: Callable[[bytes, Path], None], data: bytes, place: Path) -> None:
    """Read, or raise a Hang; also where the alarm goes off as the reader ends, and never after it."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read(data, place)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _peak() -> int:
    """The most memory that the process has had, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    if found := re.search(r"VmHWM:\s+(\d+) kB", status):
        return int(found[1]) << 10
    # which on Linux begins at what the parent had
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def fuzz(name: str, inputs: int, seed: int = 0, keep: Path | None = None) -> Counts:
    """Run a parser on damaged inputs, the same for the same seed; first on those that are whole."""
    read, documented = PARSERS[name]
    whole, random, counts = corpus(name), Random(seed), Counts()
    os.unsetenv(CANARY)
    before = signal.signal(signal.SIGALRM, _hang)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(inputs):
            data = whole[number] if number < len(whole) else damaged(random.choice(whole), whole, random)
            peak, bad = _peak(), True
            counts.inputs += 1
            try:
                _in_time(read, data, Path(place))
                counts.read, bad = counts.read + 1, False
            except documented as error:
                try:
                    one_line(error)
                    counts.refused, bad = counts.refused + 1, False
                except AssertionError:
                    counts.uncaught += 1
            except Hang:
                counts.hangs += 1
            except Exception:
                counts.uncaught += 1
            if number and _peak() - peak > MOST_GROWTH:  # the first one imports what is imported late
                counts.large, bad = counts.large + 1, True
            if _canary():
                counts.run, bad = counts.run + 1, True
            if bad and keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{name}-{seed}-{number}").write_bytes(data)
    signal.signal(signal.SIGALRM, before)
    return counts


def _canary() -> bool:
    """Whether a pickle was run: it sets the process's environment, which `os.environ` does not see."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    found = libc.getenv(CANARY.encode()) is not None
    if found:
        os.unsetenv(CANARY)
    return found


def fuzz_apart(
    names: Sequence[str], inputs: int, seed: int, keep: Path | None
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """As `fuzz`, each parser in a process of its own, whose memory is nobody else's; as many at once as cores."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        runs = [(name, pool.apply_async(fuzz, (name, inputs, seed, keep))) for name in names]
        for name, run in runs:
            yield name, astuple(run.get())
