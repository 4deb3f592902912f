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
BATCH = 32
#: Seeds from here on are never trained on.
UNSEEN = 10_000_000


def unseen(start: int, count: int) -> Float[Tensor, "count 3 128 128"]:
    """Fresh pictures that no training saw."""
    return render([imagine(UNSEEN + start + index) for index in range(count)], SIZE)


def make(path: Path, count: int) -> None:
    """Render the pictures of seeds 0 to count - 1 as bytes; takes about 6 ms each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pictures = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, 3, SIZE, SIZE))
    for start in range(0, count, BATCH):
        images = render([imagine(seed) for seed in range(start, min(start + BATCH, count))], SIZE)
        pictures[start : start + len(images)] = ((images + 1) * 127.5).round().byte().numpy()
        if start % 2048 == 0:
            tell(f"rendered {start} of {count}")
    pictures.flush()
    partial.replace(path)


def load(path: Path) -> np.ndarray:
    """The pictures as bytes: count x 3 x 128 x 128, read from disk as they are looked at."""
    return np.load(path, mmap_mode="r")


def images(pictures: np.ndarray) -> Float[Tensor, "batch 3 height width"]:
    """Bytes as images in [-1, 1]."""
    return torch.tensor(pictures).float() / 127.5 - 1
