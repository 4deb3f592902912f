import asyncio
import gc
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from inkpunk import Order
from inkpunk.cli import main as inkpunk
from inkpunk_studio import serving
from inkpunk_studio.app import create_app
from inkpunk_studio.command import main, studio
from inkpunk_studio.page.kept import Kept
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

PATIENCE = 60.0


def test_health_is_answered_while_the_desk_draws(
    open_desk: Any, gate: Any, order: Callable[..., Order]
) -> None:
    desk: Desk = open_desk(load=gate)
    for _ in range(3):
        desk.submit([order()], client="test")

    async def ask() -> Any:
        app = create_app(desk.settings, desk, page=False)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            return (await client.get("/health")).json()

    told = asyncio.run(ask())
    assert told["status"] == "ok"
    assert told["waiting"] in (2, 3)


FOLDERS = ("pictures", "state")


def folders(place: Path) -> list[str]:
    return [text for name in FOLDERS for text in (f"--{name}", str(place / name))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """The studio in a process of its own, its address, and the folder that it works in."""
    place = tmp_path_factory.mktemp("served")
    command = (sys.executable, "-m", "inkpunk_studio", "--no-page", "--port", "0", *folders(place))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found
            yield process, found[0], place
        finally:
            process.kill()


def test_the_command_says_where_it_answers(served: tuple[subprocess.Popen[str], str, Path]) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=PATIENCE) as client:
        assert client.get(f"{served[1]}/health").json()["status"] == "ok"


def test_an_address_that_is_taken_is_told_in_one_line(
    served: tuple[subprocess.Popen[str], str, Path], tmp_path: Path
) -> None:
    port = served[1].rpartition(":")[2]
    told = CliRunner().invoke(main, ["--port", port, *folders(tmp_path)])
    assert told.exit_code == 1
    assert told.output.startswith(f"Error: 127.0.0.1:{port}: ") and told.output.count("\n") == 1


def test_two_studios_do_not_draw_the_same_jobs(served: tuple[subprocess.Popen[str], str, Path]) -> None:
    told = CliRunner().invoke(main, ["--port", "0", *folders(served[2])])
    assert told.exit_code == 1
    assert told.output.endswith("state: another studio works there; end it, or give another --state\n")
    assert gc.isenabled()  # which it is not while all is imported


def test_an_interrupt_ends_it_quietly(served: tuple[subprocess.Popen[str], str, Path]) -> None:
    process = served[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert process.stderr is not None and process.stderr.read() == ""


def test_another_address_demands_a_token() -> None:
    told = CliRunner().invoke(main, ["--host", "0.0.0.0"], env={"INKPUNK_TOKEN": ""})
    assert told.exit_code == 2
    assert "give a --token" in told.output


def test_inkpunk_has_the_command() -> None:
    assert inkpunk.get_command(inkpunk.make_context("inkpunk", ["samplers"]), "studio") is studio
    told = CliRunner().invoke(inkpunk, ["--help"])
    assert "\n  studio " in told.output


@pytest.mark.parametrize("module", ["torch", "gradio", "fastapi", "uvicorn"])
def test_help_waits_for_no_large_library(module: str) -> None:
    script = (
        "import sys; from click.testing import CliRunner; from inkpunk.cli import main; "
        f"assert 'studio' in CliRunner().invoke(main, ['--help']).output; sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@pytest.fixture
def unserved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Has `serve` return where it would wait for requests; gives what it would have served by, and its protocol."""
    configs = list[Any]()

    def run(server: Any, sockets: list[socket.socket]) -> None:
        configs.append((server.config.access_log, sockets[0].proto))

    monkeypatch.setattr(serving.uvicorn.Server, "run", run)
    monkeypatch.setattr(serving.sys, "setswitchinterval", lambda seconds: None)
    monkeypatch.setattr(serving.gc, "freeze", lambda: None)
    return configs


def test_the_line_that_is_printed_has_the_token_and_no_log_does(
    settings: Settings,
    unserved: list[Any],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    serving.serve(replace(settings, host="0.0.0.0", port=0, token="a b&c"), page=False)
    told = capsys.readouterr()
    assert re.fullmatch(r"Inkpunk studio: http://127\.0\.0\.1:\d+/\?token=a\+b%26c\n", told.err)
    assert (told.out, "a b&c" in caplog.text, "a+b" in caplog.text) == ("", False, False)
    assert unserved == [(False, socket.IPPROTO_TCP)]  # by which answers are not held back


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("box", "http://box:1")],
)
def test_without_a_token_the_address_is_all(settings: Settings, host: str, address: str) -> None:
    token = None if host == "127.0.0.1" else "x"
    assert (
        serving.link(replace(settings, host=host, port=1, token=token)).removesuffix("/?token=x") == address
    )


@pytest.mark.parametrize("token", [None, "x"])
def test_the_page_is_written_before_the_first_visit(settings: Settings, token: str | None) -> None:
    app = create_app(replace(settings, token=token))
    kept = next(each.app for each in app.router.routes if isinstance(getattr(each, "app", None), Kept))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            for _ in range(int(PATIENCE * 100)):
                if len(kept):
                    return
                await asyncio.sleep(0.01)

    asyncio.run(start())
    assert len(kept) == 1
