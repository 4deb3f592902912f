"""The `inkpunk-fleet` command."""

from collections import Counter
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from inkpunk.cli import Commands
from inkpunk.cli.batch import FORMS, batch, given_for_lines, summary

if TYPE_CHECKING:
    from inkpunk_fleet.tasks import Outcome

MOST_TOLD = 20  # failures on the terminal; the rows have all
BATCH_ALONE = ("file", "out", "retry_failed", "told_form", "together")
"""Of `inkpunk batch`'s parameters those that say how, and not what: a fleet has its own."""


def _workers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """A number of workers, or MIN:MAX."""
    if value is None:
        return None
    least, colon, most = value.partition(":")
    if not least.isdecimal() or not (most.isdecimal() or not colon):
        raise click.BadParameter(f"{value!r} is neither a number, such as 8, nor MIN:MAX, such as 1:1000")
    numbers = int(least), int(most or least)
    if not 1 <= numbers[0] <= numbers[1]:
        raise click.BadParameter(f"{value!r}: give at least one, and not more at first than at most")
    return numbers


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inkpunk-fleet", message="inkpunk-fleet %(version)s")
def main() -> None:
    """Files of requests for pictures, drawn by many machines: inkpunk's batches on Ray.

    \b
    inkpunk-fleet run requests.jsonl --out pictures
    inkpunk-fleet run requests.jsonl --out s3://bucket/pictures --address auto --workers 1:1000 --gpus 1
    """


@main.command()
@click.argument("requests", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--out",
    default="pictures",
    show_default=True,
    help="A folder that all workers see, or a URL such as s3://bucket/pictures.",
)
@click.option(
    "--workers",
    metavar="N|MIN:MAX",
    callback=_workers,
    help="How many, or as many between two numbers as there is work and room for. [default: as many as fit]",
)
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    help="Of each worker; 0.5 lets two share one. [default: 1 if the cluster has any]",
)
@click.option(
    "--cpus",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Of each worker; and its threads.",
)
@click.option(
    "--tasks",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Requests that a worker takes at once.",
)
@click.option("--address", help="A running Ray cluster: auto, or HOST:PORT. [default: one on this machine]")
@click.option("--retry-failed", is_flag=True, help="Try those again that failed at an earlier time.")
@click.option(
    "--as", "told_form", type=click.Choice(FORMS), help="What REQUESTS is. [default: what its ending says]"
)
@click.pass_context
def run(
    context: click.Context,
    requests: Path,
    out: str,
    workers: tuple[int, int] | None,
    gpus: float | None,
    cpus: float,
    tasks: int,
    address: str | None,
    retry_failed: bool,
    told_form: str | None,
    **options: Any,
) -> None:
    """Draw what REQUESTS asks for, by a fleet of workers that each hold the model.

    REQUESTS is what `inkpunk batch` takes, and so are the options that hold for lines that do not say otherwise. The
    pictures have the same names, so that each goes on with what the other began. Stopped by whatever, the same
    command goes on. What became of each request is in the folder's manifest.parquet.
    """
    from inkpunk.orders.files import count_orders
    from inkpunk.orders.values import OrderError

    from inkpunk_fleet.fleet import run as run_fleet
    from inkpunk_fleet.running import Crew, FleetError
    from inkpunk_fleet.store import StoreError

    defaults = given_for_lines(context, options)
    least, most = workers or (None, None)
    crew = Crew(least, most, cpus, gpus, tasks)
    done = Counter[str]()
    try:
        total = sum(count_orders(requests, defaults, told_form))
        outcomes = run_fleet(
            requests, out, crew, address=address, defaults=defaults, form=told_form, retry_failed=retry_failed
        )
        with closing(outcomes), _progress(total) as tell:
            for outcome in outcomes:
                done[outcome.state] += 1
                tell(outcome, done["failed"])
    except (OrderError, FleetError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        if done:
            click.echo(summary(done, out))
    if done["failed"] + done["failed before"]:
        context.exit(1)


run.params += [each for each in batch.params if each.name not in BATCH_ALONE]


@contextmanager
def _progress(total: int) -> Generator[Any]:
    """A bar that tells how many are done of how many, and the time left; and a line for each that fails."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[failed]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, failed="")

        def tell(outcome: "Outcome", failed: int) -> None:
            if outcome.state == "failed" and failed <= MOST_TOLD:
                line = f"line {outcome.line}: {outcome.error}"
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            if outcome.state == "failed" and failed == MOST_TOLD:
                bar.console.print("further failures are told by the folder's manifest.parquet alone")
            bar.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        yield tell
        bar.update(task, total=bar.tasks[0].completed)  # what a file has twice is drawn once
