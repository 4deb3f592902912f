"""How many threads work is worth."""

# A core does so many in half a millisecond: waking one that sleeps takes a tenth of that.
import os

import torch

PRODUCTS_A_THREAD = float(os.environ.get("PAT", 8_000_000))


def threads_for(products: float) -> int:
    """Of so many multiply-adds: one for each `PRODUCTS_A_THREAD`, up to what torch may use."""
    return max(1, min(torch.get_num_threads(), int(products / PRODUCTS_A_THREAD)))
