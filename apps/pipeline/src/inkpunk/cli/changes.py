"""Changes as the command line tells them: `steps=40,seed=+1`, commas within a value between double quotes."""

import re

import click

_PIECE = re.compile(r'(?:"(?:[^"]|"")*"|[^",])*')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def read_changes(told: tuple[str, ...]) -> dict[str, object]:
    """Options by their names and their new values; of one that is told several times a list, None to leave one out.

    Raises:
        UsageError: for what is not OPTION=VALUE, and quotes that do not match.
    """
    changes = dict[str, list[str]]()
    for text in told:
        for piece in _pieces(text):
            name, equals, value = piece.partition("=")
            name = name.strip().lstrip("-")
            if not equals or not name:
                raise click.UsageError(
                    f"--with {piece.strip()!r}: is not OPTION=VALUE, as steps=40; a value with commas stands between "
                    'double quotes, as prompt="a raven, at dusk"'
                )
            changes.setdefault(name, []).append(value)
    return {name: _value(values) for name, values in changes.items()}


def _value(values: list[str]) -> object:
    return (values[0] or None) if len(values) == 1 else tuple(values)


def _pieces(text: str) -> list[str]:
    """What stands between commas; double quotes keep a comma, and two of them within such are one."""
    found, at = list[str](), 0
    while True:
        piece = _PIECE.match(text, at)
        assert piece is not None  # it may be empty
        found.append(_QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), piece[0]))
        at = piece.end()
        if at == len(text):
            return found
        if text[at] != ",":
            raise click.UsageError(f"--with {text}: the quotes do not match")
        at += 1
