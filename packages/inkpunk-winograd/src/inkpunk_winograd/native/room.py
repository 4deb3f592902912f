"""Memory that native kernels work in."""

import threading

import torch
from torch import Tensor


class Room(threading.local):
    """Memory to work in, which each thread keeps: asking the system for it anew would take longer than using it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers = torch.empty(0)

    def take(self, count: int) -> Tensor:
        """At least so many float32 numbers, whose values are of no meaning."""
        if self._numbers.numel() < count:
            self._numbers = torch.empty(0)  # let go of the old before asking for the new
            with torch.device("cpu"):
                self._numbers = torch.empty(count)
        return self._numbers


ROOM = Room()
