"""From what the fields show to orders, every seed settled."""

import secrets
from collections.abc import Mapping

from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError

MOST_SEED = 2**63 - 1
RANDOM_BITS = 32  # as many as other programs' fields hold, so that a seed can be carried over


def orders_of(values: Mapping[str, object], count: int, most: int) -> list[Order]:
    """Make orders that differ in their seeds, which count on from the first.

    Args:
        values: by the names of options; without a seed, the first is a random one.
        count: how many pictures.
        most: how many may be asked for at once.

    Raises:
        OrderError: for values that cannot be, and for more pictures than are allowed.
    """
    if not 1 <= count <= most:
        raise OrderError(f"count {count}: must be 1 to {most}")
    order = Order.read({"prompt": "", **values})
    first = order.seed if order.seed is not None else secrets.randbits(RANDOM_BITS)
    if not 0 <= first <= MOST_SEED - count + 1:
        raise OrderError(f"seed {first}: must be 0 to {MOST_SEED - count + 1}")
    return [order.changed({"seed": first + place}) for place in range(count)]
