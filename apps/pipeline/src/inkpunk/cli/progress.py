"""A progress bar around a loop that counts its steps."""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

from inkpunk.cli.interrupting import look_for_interrupts

if TYPE_CHECKING:
    from rich.console import RenderableType


class Counted(Protocol):
    """The state after a step: `index` of `total` are done."""

    @property
    def index(self) -> int: ...  # noqa: D102
    @property
    def total(self) -> int: ...  # noqa: D102


State = TypeVar("State", bound=Counted)


def with_progress(
    steps: Iterator[State],
    title: str,
    tell: Callable[[State], str] = lambda step: "",
    show: Callable[[State], "RenderableType | None"] = lambda step: None,
) -> Generator[State]:
    """Pass steps on behind a progress bar that tells the time of a step and the time left, and what `tell` adds.

    What `show` makes of a step is printed above it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, pace="", told="")
        for step in steps:
            look_for_interrupts()
            progress.update(task, total=step.total, completed=step.index)
            speed = progress.tasks[task].speed
            progress.update(task, pace=f"{1 / speed:.2f} s/step" if speed else "", told=tell(step))
            if (shown := show(step)) is not None:
                progress.console.print(shown)
            yield step
