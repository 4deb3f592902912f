"""Axes of a grid of orders: their values are those that an `Order` takes."""

from collections.abc import Sequence
from typing import Any

from inkpunk.orders.axes import PROMPT, AxisError, OptionAxis, read_values
from inkpunk.orders.options import OPTIONS, number, texts, whole
from inkpunk.orders.values import OrderError
from inkpunk.road.given import GivenError


def read_order_axis(text: str, names: Sequence[str]) -> OptionAxis:
    """Read an axis of orders, whose values are those of `Order.values`; a blank one leaves the setting open.

    Args:
        text: as `read_values` takes it.
        names: of the options that may differ.

    Raises:
        AxisError: as `read_values`; for a value that the option refuses.
    """
    numbers = {name: OPTIONS[name] is whole for name in names if OPTIONS[name] in (whole, number)}
    axis = read_values(text, names, numbers)
    settings = axis.values if axis.name == PROMPT else tuple(_value(axis.name, each) for each in axis.values)
    return OptionAxis(axis, settings, axis.name, (PROMPT, "negative"))


def _value(name: str, text: str) -> Any:
    if not text.strip():
        return None
    try:
        return OPTIONS[name](name, text.strip() if OPTIONS[name] is not texts else text)
    except (OrderError, GivenError) as error:
        raise AxisError(f"{name}={text}: {error}") from error
