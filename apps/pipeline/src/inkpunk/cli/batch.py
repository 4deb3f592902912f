"""`inkpunk batch`: work through a file of any number of requests, whatever happens on the way."""

import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from copy import copy
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from inkpunk.cli.destinations import make_folder
from inkpunk.cli.drawing import MOST_TOGETHER
from inkpunk.cli.interrupting import look_for_interrupts
from inkpunk.cli.options import (
    EDITING_OPTIONS,
    MODEL_OPTIONS,
    load_choice,
    picture_options,
    with_options,
)
from inkpunk.cli.refusing import refusals
from inkpunk.cli.saving import SAVING_OPTIONS

if TYPE_CHECKING:
    from inkpunk_sampling import Step

    from inkpunk.orders.folder import Outcome

FORMS = ("jsonl", "json", "csv", "txt")  # inkpunk.orders.lines.READERS
MOST_TOLD = 20  # failures on the terminal; the manifest has all
COUNTED_AT_ONCE = 1000  # lines, between two pictures: a long file does not keep the first picture waiting
RECENT = 50  # pictures whose times tell the rate


def _as_default(command: click.Command) -> click.Command:
    """Have the options that a line may set keep what they are given as it is: it is read where lines are."""
    command.params = [copy(each) for each in command.params]
    for each in command.params:
        each.callback = None
    return command


@_as_default
@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="A folder, for the pictures and their manifest.",
)
@click.option("--retry-failed", is_flag=True, help="Try those again that failed at an earlier time.")
@click.option(
    "--as",
    "told_form",
    type=click.Choice(FORMS),
    help="What FILE is. [default: what its ending says; of -, what its first character does]",
)
@click.option(
    "--batch",
    "together",
    type=click.IntRange(1, MOST_TOGETHER),
    default=1,
    show_default=True,
    help="Pictures drawn at once, of lines that differ in nothing but their seeds.",
)
@click.option(
    "--count", type=click.IntRange(1), help="Pictures of a line, of seeds SEED, SEED+1... [default: 1]"
)
@picture_options
@with_options(EDITING_OPTIONS)
@with_options(SAVING_OPTIONS)
@with_options(MODEL_OPTIONS)
@click.pass_context
def batch(
    context: click.Context,
    file: Path,
    out: Path,
    retry_failed: bool,
    told_form: str | None,
    together: int,
    **options: Any,
) -> None:
    r"""Draw what FILE asks for, line by line.

    \b
    requests.jsonl   {"prompt": ["a raven", "an owl"], "steps": [10, 20], "seed": 7}   four pictures
    requests.csv     prompt,seed,negative                                              a header, and rows
    prompts.txt      a raven at dusk                                                   a prompt a line
    -                standard input

    A line may set any option below that decides a picture, a model or a file, by its name without dashes, and those
    given here hold for lines that do not. A list multiplies out; "count" makes pictures of following seeds; a line
    without a seed has one that follows from what it says.

    Stopped by whatever, the same command goes on: what is in the folder is not drawn again. What failed is told,
    noted in the folder's manifest.jsonl and not tried again without --retry-failed. Several processes may share a
    folder.
    """
    with refusals():
        make_folder("--out", out)
        from inkpunk.orders.batch import WINDOW, draw_orders
        from inkpunk.orders.files import count_orders, read_orders
        from inkpunk.orders.folder import FolderError, Outcome
        from inkpunk.orders.values import OrderError

        defaults = given_for_lines(context, options)
        counts = count_orders(file, defaults, told_form) if file.is_file() else iter(())
        done = Counter[str]()
        try:
            entries = read_orders(file, defaults, told_form)
            drawing = draw_orders(
                entries,
                out,
                together=together,
                retry_failed=retry_failed,
                # whoever writes to a pipe may be waiting for the first picture
                window=WINDOW if file.is_file() else together,
                load=load_choice,
            )
            with closing(drawing), _progress(counts, known=file.is_file()) as progress:
                for each in drawing:
                    look_for_interrupts()
                    if isinstance(each, Outcome):
                        done[each.state] += 1
                        progress.count(each)
                    else:
                        progress.show(each)
        except (OrderError, FolderError) as error:
            raise click.ClickException(str(error)) from error
        finally:
            if done:
                click.echo(summary(done, out, out / "manifest.jsonl"))
    if done["failed"] + done["failed before"]:
        context.exit(1)


def given_for_lines(context: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """What is on the command line of what lines may say, as they would say it."""
    given = dict[str, Any]()
    for each in context.command.params:
        if each.name in options and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE:
            name = next(told for told in each.opts if told.startswith("--"))[2:]
            given[name] = _plain(options[each.name])
    return given


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[object, ...]", value)]
    return str(value) if isinstance(value, Path) else value


def summary(done: Counter[str], out: object, told_by: object = None) -> str:
    """What became of all orders, in a line; `told_by`: the file that tells why some failed."""
    failed = done["failed"] + done["failed before"]
    parts = [f"{done['drawn']:,} drawn"]
    if done["there"]:
        parts.append(f"{done['there']:,} there already")
    if failed:
        parts.append(f"{failed:,} failed")
    if done["failed before"]:
        parts.append(
            f"{done['failed before']:,} of them at an earlier time (--retry-failed tries them again)"
        )
    return f"{out}: {', '.join(parts)}" + (f"; {told_by} says why" if failed and told_by else "")


class _Progress:
    """A bar that tells how many are done of how many, the rate, the time left, and what failed."""

    def __init__(self, bar: Any, counts: Iterator[int], *, known: bool) -> None:
        self._bar, self._counts, self._known = bar, counts, known
        self._task = bar.add_task("", total=None, pace="", left="", step="", failed="")
        self._done = self._failed = self._total = 0
        self._idle = set[str]()  # what was told once, and may hold of more lines
        self._recent = deque([time.perf_counter()], maxlen=RECENT)
        self._counted()

    def show(self, step: "Step") -> None:
        """Tell a step of the picture that is being drawn."""
        self._bar.update(self._task, step=f"step {step.index}/{step.total}")

    def count(self, outcome: "Outcome") -> None:
        """Count what is done."""
        self._done += 1
        if outcome.state == "failed":
            self._failed += 1
            if self._failed <= MOST_TOLD:
                self._tell(f"line {outcome.line}: {outcome.error}")
            if self._failed == MOST_TOLD:
                self._tell("further failures are told by the manifest alone")
        for line in outcome.idle:
            if line not in self._idle:
                self._idle.add(line)
                self._tell(f"line {outcome.line}: {line}")
        if outcome.state == "drawn":
            self._recent.append(time.perf_counter())
        elif len(self._recent) == 1:  # nothing is drawn yet
            self._recent[0] = time.perf_counter()
        self._counted()
        self._draw()

    def _tell(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _counted(self) -> None:
        """Count some more of the file's lines."""
        if self._known:
            more = [*islice(self._counts, COUNTED_AT_ONCE)]
            self._total += sum(more)
            if len(more) < COUNTED_AT_ONCE:
                self._known, self._counts = False, iter(())
                self._bar.update(self._task, total=self._total)

    def _draw(self) -> None:
        fields = {"failed": f"{self._failed} failed" if self._failed else ""}
        drawn, seconds = len(self._recent) - 1, self._recent[-1] - self._recent[0]
        if drawn and seconds:
            each = seconds / drawn
            fields["pace"] = f"{each:.2f} s each" if each > 1 else f"{1 / each:.1f} a second"
            if self._total and not self._known:
                fields["left"] = f"{timedelta(seconds=round(each * (self._total - self._done)))} left"
        self._bar.update(self._task, completed=self._done, **fields)


@contextmanager
def _progress(counts: Iterator[int], *, known: bool) -> Generator[_Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    told = (TextColumn(f"{{task.fields[{name}]}}") for name in ("pace", "left", "failed", "step"))
    with Progress(BarColumn(), MofNCompleteColumn(), *told, console=Console(stderr=True)) as bar:
        yield _Progress(bar, counts, known=known)
