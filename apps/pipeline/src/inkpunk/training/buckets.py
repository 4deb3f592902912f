"""Which size a picture is learned in: that of its bucket, whose pictures can share a batch."""

from math import log
from typing import TypeAlias

from inkpunk.pictures.fitting import SIZE_MULTIPLE

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""
STEPS = 8  # of a side; so that few pictures get sizes of their own: multiples of 64 for 512, as is usual


def bucket(size: Size, side: int) -> Size:
    """The size nearest in shape to a picture's, of at most the area of a square of `side` pixels.

    Its sides are multiples of an eighth of `side`, and at most twice as long as it.
    """
    step = max(side // STEPS // SIZE_MULTIPLE, 1) * SIZE_MULTIPLE
    shape = size[0] / size[1]
    lengths = range(step, 2 * side + 1, step)
    # of each width the greatest height that the area allows: what is smaller wastes pixels
    sizes = [(width, min(side * side // width // step * step, lengths[-1])) for width in lengths]
    possible = [(width, height) for width, height in sizes if height > 0]
    return min(possible, key=lambda each: (abs(log(each[0] / each[1] / shape)), -each[0] * each[1]))
