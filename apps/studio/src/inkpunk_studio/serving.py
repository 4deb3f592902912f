"""Serving the application by uvicorn, until it is ended."""

import gc
import socket
import sys
import webbrowser
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from threading import Timer
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import click
import uvicorn
from inkpunk.orders.choice import ModelChoice

from inkpunk_studio.app import create_app
from inkpunk_studio.importing import without
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.journal import StateTakenError

if TYPE_CHECKING:
    from inkpunk.pipeline import Pipeline

STOPPING_SECONDS = 5  # that answers under way may take when the studio is ended
SWITCH_SECONDS = 0.0005
"""After which a thread lets others on. Python's 5 ms, times the forty that may read requests, would be 0.2 s in which
nobody is answered."""


def serve(settings: Settings, *, page: bool = True, opens: bool = False) -> None:
    """Serve until Ctrl-C or a signal ends it: answers under way are finished, and the drawing stops within a step.

    Args:
        settings: what the studio may do.
        page: whether there is a page.
        opens: whether the page is opened in the browser.

    Raises:
        click.ClickException: for an address that cannot be listened at, or folders that cannot be made.
    """
    try:
        listening = _listening(settings.host, settings.port)
    except OSError as error:
        raise click.ClickException(
            f"{settings.host}:{settings.port}: {error.strerror}; give another --port"
        ) from error
    with closing(listening), ExitStack() as ending:
        ending.callback(gc.enable)  # also where it is refused
        gc.disable()  # until all is imported: half a second of looking through what stays
        settings = replace(settings, port=listening.getsockname()[1])
        desk = Desk(settings, load=_loaded)
        try:
            desk.start()  # torch and the model come while the page is imported
        except StateTakenError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(
                f"{error.filename}: {error.strerror}; give --pictures and --state"
            ) from error
        with closing(desk):
            # which pandas and FastAPI bring where they can, and nothing here uses
            with without("pyarrow"), without("pydantic.v1"):
                app = create_app(settings, desk, page=page)
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOPPING_SECONDS
            )
            address = link(settings)
            click.echo(f"Inkpunk studio: {address}", err=True)
            gc.enable()
            gc.freeze()
            sys.setswitchinterval(SWITCH_SECONDS)
            if opens:
                Timer(1.0, webbrowser.open, [address]).start()
            with suppress(KeyboardInterrupt):  # which is how a server is ended
                uvicorn.Server(config).run(sockets=[listening])


def link(settings: Settings) -> str:
    """What a browser on this machine is to be given; with the token, where there is one, which it keeps."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    address = f"http://[{named}]:{settings.port}" if ":" in named else f"http://{named}:{settings.port}"
    return address if settings.token is None else f"{address}/?{urlencode({'token': settings.token})}"


def _loaded(choice: ModelChoice) -> "Pipeline":
    """A model, and nothing that is there by then is looked through for garbage again: it takes 0.2 s each time."""
    pipeline = choice.load()
    gc.freeze()
    return pipeline


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends what is small at once on sockets that say so; others wait 40 ms for an acknowledgement
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
