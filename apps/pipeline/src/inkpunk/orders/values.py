"""The values of an order."""

Value = str | int | float | bool | tuple[str, ...]


class OrderError(ValueError):
    """An order that cannot be; the message says which value, why, and what to give instead."""
