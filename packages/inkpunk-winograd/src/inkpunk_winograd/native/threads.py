"""How many threads work is worth."""

import torch

# A core does so many in half a millisecond: waking one that sleeps takes a tenth of that.
PRODUCTS_A_THREAD = 8_000_000


def threads_for(products: float) -> int:
    """Of so many multiply-adds: one for each `PRODUCTS_A_THREAD`, up to what torch may use."""
    return max(1, min(torch.get_num_threads(), int(products / PRODUCTS_A_THREAD)))
