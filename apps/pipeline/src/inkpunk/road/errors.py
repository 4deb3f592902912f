"""What a request is refused with."""


class RequestError(ValueError):
    """A request that cannot be drawn; the message says which value, why, and what to give instead."""
