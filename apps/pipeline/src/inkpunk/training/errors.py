"""What cannot be trained, told before it is tried."""


class TrainingError(ValueError):
    """A training that cannot work; the message says what is wrong, where, and what to give instead."""
