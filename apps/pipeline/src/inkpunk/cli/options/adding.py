"""How options are added to a command."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def without_options(names: Collection[str]) -> Callable[[click.Command], click.Command]:
    """Take off options that a command has no use for, by the names of its arguments, of those that it shares."""

    def taken_off(command: click.Command) -> click.Command:
        command.params = [each for each in command.params if each.name not in names]
        return command

    return taken_off


def with_options(options: tuple[Callable[..., Any], ...]) -> Callable[[Command], Command]:
    """Add options that --help lists in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
