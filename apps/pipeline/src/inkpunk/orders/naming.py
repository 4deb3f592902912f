"""Names of pictures that follow from what was asked for, so that whoever goes on finds what is done."""

from inkpunk.orders.order import Order
from inkpunk.pictures.formats import ending_of
from inkpunk.pictures.picture import slug

_DIGITS = 20  # 80 bits: among a thousand million orders, two have the same by a chance of 1 in 2 million


def file_name(order: Order) -> str:
    """The name of an order's picture, such as `3f5a0c...-a-raven-at-dusk.png`.

    It begins with the order's key and has the first words of its prompt. It is lower-case ASCII letters, digits and
    hyphens for every order: every file system takes it, and object stores do.

    Raises:
        OrderError: for an order without a seed, or one that names a file that cannot be read.
    """
    prompt = order.values.get("prompt")
    words = slug(prompt) if isinstance(prompt, str) else []
    return "-".join([order.key[:_DIGITS], *words]) + ending_of(order.form)
