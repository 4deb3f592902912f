"""The normal numbers that a CUDA device draws, in plain tensor arithmetic: Philox counters and Box-Muller.

Salmon, Moraes, Dror and Shaw 2011, Parallel Random Numbers: As Easy as 1, 2, 3: Philox4x32-10. Torch's CUDA generator
gives every number a counter of its own, so that any device can compute it.
"""

from collections.abc import Sequence
from math import pi, prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, what the keys grow by
BITS = 0xFFFFFFFF  # torch has no unsigned arithmetic: 32 bits live in 64


def philox_normal(seed: int, shape: Sequence[int], offset: int) -> Float[Tensor, "..."]:
    """Draw what torch's CUDA generator of this seed draws as its tensor number `offset`, in float32 on the CPU.

    It holds for tensors of at most as many numbers as the device has threads for at once, as latents are.

    Args:
        seed: 0 to 2**64 - 1.
        shape: of the tensor.
        offset: how many tensors were drawn before, 0 to 2**32 - 1.
    """
    count = prod(shape)
    place = torch.arange(count, dtype=torch.int64)
    none = torch.zeros_like(place)
    first, second, _, _ = philox((none + offset, none, place, none), (seed & BITS, seed >> 32))
    # Box and Muller in float32, as the device computes it; half a unit keeps the logarithm finite
    radius = (first.float() * 2**-32 + 2**-33).log().mul(-2).sqrt()
    angle = second.float() * (2**-32 * 2 * pi) + 2**-33 * 2 * pi
    return (radius * angle.sin()).reshape(tuple(shape))


def philox(counter: tuple[Int[Tensor, " n"], ...], key: tuple[int, int]) -> tuple[Int[Tensor, " n"], ...]:
    """Philox4x32-10: four words of 32 random bits for each counter of four words."""
    a, b, c, d = counter
    low, high = key
    for _ in range(ROUNDS):
        left, right = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c  # 64 bits, of which both halves are used
        a, b, c, d = _upper(right) ^ b ^ low, right & BITS, _upper(left) ^ d ^ high, left & BITS
        low, high = (low + WEYL[0]) & BITS, (high + WEYL[1]) & BITS
    return a, b, c, d


def _upper(product: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    return (product >> 32) & BITS  # the shift copies the sign, which is a bit like any other here
