"""Numbers as recipes have them: short, and read back to the same."""

from decimal import Decimal
from math import isfinite


def exact(value: float) -> str:
    """A number as one writes it, "0.9", without an exponent, which many options do not read; reads back the same."""
    short = f"{value:g}"
    if not isfinite(value):  # of what is about to be refused
        return short
    return short if float(short) == value and "e" not in short else f"{Decimal(repr(float(value))):f}"
