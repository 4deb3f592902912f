"""What a parsed prompt says at each step."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from inkpunk_clip.prompts.tree import Alternation, Break, Content, Emphasis, Switch, Text


@dataclass(frozen=True)
class Span:
    """Text of one weight."""

    text: str
    weight: float = 1.0


Line: TypeAlias = tuple[Span | Break, ...]
"""What is encoded at a step, in the order it was written."""


def line_at(content: Content, step: int, steps: int, late: int = 0) -> Line:
    """What a prompt says at a step.

    Args:
        content: of one of its parts.
        step: counted from 0.
        steps: how many there are.
        late: after how many steps more than it says a switch comes: 1 as AUTOMATIC1111 counts, where the first text
            has one step more than was asked for.
    """
    return tuple(_spans(content, max(step - late, 0), steps, 1.0))


def timeline(
    content: Content, steps: int, late: int = 0, every: bool = False
) -> tuple[tuple[int, Line], ...]:
    """What a prompt says, and from which step on, wherever that changes; the first is step 0.

    Args:
        content, steps, late: as for `line_at`.
        every: also where it might have changed, and did not, and what would come too late to be seen.

    Raises:
        ValueError: for less than one step.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps: there must be one at least")
    lines = list[tuple[int, Line]]()
    for change in sorted({0} | {at for at in _changes(content, steps) if 0 < at < steps}):
        begins = change + late if change else 0
        line = line_at(content, change, steps)
        if every or (begins < steps and (not lines or lines[-1][1] != line)):
            lines.append((begins, line))
    return tuple(lines)


def merged(line: Line) -> Line:
    """The line with neighbouring spans of one weight made one, so that words may go across."""
    whole = list[Span | Break]()
    for each in line:
        last = whole[-1] if whole else None
        if isinstance(each, Span) and isinstance(last, Span) and each.weight == last.weight:
            whole[-1] = Span(last.text + each.text, each.weight)
        else:
            whole.append(each)
    return tuple(whole)


def _spans(content: Content, step: int, steps: int, weight: float) -> Iterator[Span | Break]:
    for node in content:
        match node:
            case Text(text):
                yield Span(text, weight)
            case Break():
                yield node
            case Emphasis(inner, factor):
                yield from _spans(inner, step, steps, weight * factor)
            case Switch(before, after, when):
                yield from _spans(before if step < _steps_of(when, steps) else after, step, steps, weight)
            case Alternation(choices):
                yield from _spans(choices[step % len(choices)], step, steps, weight)


def _steps_of(when: int | float, steps: int) -> int:
    return int(when * steps) if isinstance(when, float) else when


def _changes(content: Content, steps: int) -> Iterator[int]:
    """The steps at which something may change."""
    for node in content:
        match node:
            case Emphasis(inner):
                yield from _changes(inner, steps)
            case Switch(before, after, when):
                yield _steps_of(when, steps)
                yield from _changes(before, steps)
                yield from _changes(after, steps)
            case Alternation():
                yield from range(steps)
            case _:
                pass
