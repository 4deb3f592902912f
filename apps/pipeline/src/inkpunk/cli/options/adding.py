"""How options are added to a command."""

from collections.abc import Callable
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


def with_options(options: tuple[Callable[..., Any], ...]) -> Callable[[Command], Command]:
    """Add options that --help lists in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
