"""The pictures of a run, rendered once into a file, since rendering costs more than reading."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .captions import imagine
from .picture import render
from .runs import tell

SIZE = 128
#: The first seed of the pictures of each size; those of other sizes teach the model to bear them.
SEEDS = {128: 0, 96: 1_000_000, 160: 2_000_000, 192: 3_000_000}
OTHERS = 8  # of so many pictures of the usual size, there is one of each other
BATCH = 32
#: Seeds from here on are never trained on.
UNSEEN = 10_000_000


def unseen(start: int, count: int) -> Float[Tensor, "count 3 128 128"]:
    """Fresh pictures that no training saw."""
    return render([imagine(UNSEEN + start + index) for index in range(count)], SIZE)


def make(run: Path, count: int) -> None:
    """Render `count` pictures of the usual size and fewer of the others, about 6 ms each; those there are stay."""
    run.mkdir(parents=True, exist_ok=True)
    for size, first in SEEDS.items():
        some = count if size == SIZE else max(1, count // OTHERS)
        path = run / f"pictures-{size}.npy"
        if path.exists() and len(load(run, size)) == some:
            continue
        partial = run / "pictures.partial"
        pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, (some, 3, size, size))
        for start in range(0, some, BATCH):
            seeds = range(first + start, first + min(start + BATCH, some))
            part = render([imagine(seed) for seed in seeds], size)
            pictures[start : start + len(part)] = ((part + 1) * 127.5).round().byte().numpy()
        pictures.flush()
        partial.replace(path)
        tell(f"rendered {some} pictures of {size} x {size}")


def load(run: Path, size: int = SIZE) -> np.ndarray:
    """A run's pictures of one size as bytes: count x 3 x size x size, read from disk as they are looked at."""
    return np.load(run / f"pictures-{size}.npy", mmap_mode="r")


def images(pictures: np.ndarray) -> Float[Tensor, "batch 3 height width"]:
    """Bytes as images in [-1, 1]."""
    return torch.tensor(pictures).float() / 127.5 - 1
