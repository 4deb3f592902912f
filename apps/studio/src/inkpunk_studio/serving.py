"""Serving the application by uvicorn, until it is ended."""

import socket
import webbrowser
from contextlib import closing, suppress
from threading import Timer

import click
import uvicorn

from inkpunk_studio.app import create_app
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.journal import StateTakenError

STOPPING_SECONDS = 5  # that answers under way may take when the studio is ended


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
    with closing(listening):
        desk = Desk(settings)
        try:
            desk.start()  # torch and the model come while the page is imported
        except StateTakenError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(
                f"{error.filename}: {error.strerror}; give --pictures and --state"
            ) from error
        with closing(desk):
            app = create_app(settings, desk, page=page)
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOPPING_SECONDS
            )
            address = _address(settings.host, listening.getsockname()[1])
            click.echo(f"Inkpunk studio: {address}", err=True)
            if opens:
                Timer(1.0, webbrowser.open, [address]).start()
            with suppress(KeyboardInterrupt):  # which is how a server is ended
                uvicorn.Server(config).run(sockets=[listening])


def _address(host: str, port: int) -> str:
    """What a browser is to be given."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
