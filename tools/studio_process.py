"""The studio in a process of its own, for tools that measure it or end it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

PATIENCE = 120.0  # seconds until it answers
HERE = (sys.executable, "-m", "inkpunk_studio")


@dataclass(frozen=True)
class Studio:
    """A studio that answers.

    Attributes:
        process: in which it runs.
        address: where it answers.
        seconds: that it took from its start until a model was loaded.
    """

    process: subprocess.Popen[str]
    address: str
    seconds: float

    @classmethod
    def start(cls, folder: Path, *options: str, command: Sequence[str] = HERE) -> "Studio":
        """Start one over a folder of pictures and of unfinished work, and wait until it is ready."""
        begin = time.perf_counter()
        folders = ("--pictures", str(folder / "pictures"), "--state", str(folder / "state"))
        process = subprocess.Popen(
            (*command, "--port", "0", *folders, *options),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # what Python has compiled is kept, as it is wherever nobody forbids it
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
        assert process.stderr is not None
        found = re.search(r"http://\S+", line := process.stderr.readline())
        assert found, line
        with httpx.Client(base_url=found[0], transport=httpx.HTTPTransport(retries=5)) as client:
            while not client.get("/health", timeout=PATIENCE).json()["ready"]:
                assert time.perf_counter() - begin < PATIENCE, "no model is loaded"
                time.sleep(0.02)
        return cls(process, found[0], time.perf_counter() - begin)

    def kill(self) -> None:
        """End it by SIGKILL, and whatever it was started through."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
