"""`inkpunk studio`, which is `inkpunk-studio` as well."""

from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from inkpunk.cli.options import MODEL_OPTIONS, with_options
from inkpunk.orders.choice import ModelChoice

PORT = 7860
"""Where AUTOMATIC1111's server listens, and so where clients of it look at first."""
NAME = "inkpunk-studio"
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen. Others demand a --token."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 is any free one."
)
@click.option(
    "--token",
    envvar="INKPUNK_TOKEN",
    help="What callers must show. [default: $INKPUNK_TOKEN, or none is needed]",
)
@click.option(
    "--origin", "origins", multiple=True, help="A page elsewhere that may call, as http://localhost:3000."
)
@click.option("--name", "hosts", multiple=True, help="A name by which this machine may be called.")
@click.option("--fetch-urls", is_flag=True, help="Fetch pictures that requests name by an address.")
@click.option("--pictures", type=FOLDER, help="The gallery. [default: inkpunk, in your folder of pictures]")
@click.option(
    "--state", type=FOLDER, help="Where unfinished work is kept. [default: your system's place for it]"
)
@click.option(
    "--models",
    type=FOLDER,
    multiple=True,
    help="A folder of checkpoints to choose from; can be given several times.",
)
@click.option("--wildcards", type=FOLDER, help="A folder of lists for prompts, called as __list__.")
@click.option("--upscalers", type=FOLDER, help="A folder of networks that make pictures larger.")
@click.option("--most-waiting", type=click.IntRange(1), help="Requests in the queue. [default: 64]")
@click.option(
    "--page/--no-page", default=True, help="Whether there is a page, beside the addresses for programs."
)
@click.option("--open/--no-open", "opens", default=False, help="Open the page in the browser.")
@with_options(MODEL_OPTIONS)
def studio(page: bool, opens: bool, **options: Any) -> None:
    """Draw in the browser, and serve programs that call AUTOMATIC1111's or OpenAI's addresses.

    \b
    inkpunk studio                                      a page at http://127.0.0.1:7860
    inkpunk studio --models ~/checkpoints --open        with models to choose from
    inkpunk studio --host 0.0.0.0 --token SECRET        for other machines
    """
    from inkpunk_studio.importing import deferring_models

    with deferring_models():
        from inkpunk_studio.serving import serve
    from inkpunk_studio.settings import Settings, SettingsError

    choice = ModelChoice(**{each.name: options.pop(each.name) for each in fields(ModelChoice)})
    told = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(choice=choice, **told)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    serve(settings, page=page, opens=opens)


def _alone() -> click.Command:
    """The same command as a program of its own."""
    alone = copy(studio)
    alone.name, alone.params = NAME, [*studio.params]
    alone.context_settings = {"help_option_names": ["-h", "--help"]}
    return click.version_option(package_name=NAME, message=f"{NAME} %(version)s")(alone)


main = _alone()
