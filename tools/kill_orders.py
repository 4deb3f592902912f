"""Kill `inkpunk batch` over and over at random moments, and look whether anything is lost, torn or done twice.

    uv run python -m tools.kill_orders [--kills 200] [--seed 0]

Each round starts the command on the same file and folder, in a fifth of the rounds two of it at once, and ends it by
SIGKILL, SIGTERM or SIGINT. In a fifth of the rounds it is started as a user does, and ended at a moment of its first
seconds; in the others it is forked off this process, which has imported torch, and ended within half a second after a
new picture is there, so that most kills hit its work. After the last, the command runs to its end, and then:

- every order that can be drawn has its picture, by its name, and nothing else is in the folder;
- every picture opens, all of it, and has the hash that its row tells;
- every picture has one row, and every line that is wrong, or order that fails, has one as well;
- no picture that was there once was ever written again, and no row changed.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import click
from inkpunk.cli import main as inkpunk
from inkpunk.orders.files import read_orders
from inkpunk.orders.folder import PNG_END
from inkpunk.orders.manifest import NAME, Row, read_rows
from inkpunk.orders.naming import file_name
from PIL import Image

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
START = 6.0  # seconds: a command that is killed at its start is so within them
SOON = 0.5  # seconds after a new picture
PATIENCE = 120.0  # seconds for a new picture
SMALL = {"width": 64, "height": 64, "steps": 1}


def orders_file(path: Path, lines: int, chance: random.Random) -> None:
    """A file of orders of every kind: matrices, counts, equal lines, bad ones, some that fail, two models."""
    kinds = [
        lambda: {"prompt": f"a raven {chance.randrange(lines)}", **SMALL},
        lambda: {"prompt": ["a raven", "an owl"], "steps": [1, 2], "width": 64, "height": 64},
        lambda: {"prompt": "always the same", "count": 2, **SMALL},
        lambda: {"prompt": "a fox", "seed": chance.randrange(50), **SMALL},
        lambda: {"prompt": "another model", "clip-skip": 2, "without": ["memo"], **SMALL},
    ]
    written = [json.dumps(chance.choice(kinds)()) for _ in range(lines)]
    bad = ['{"prompt": ', '{"promt": "a raven"}', "", '{"prompt": "x", "steps": "many"}']
    for place in range(20, lines, 40):
        written[place] = chance.choice(bad)
        written[place + 1] = json.dumps({"prompt": "fails", "init": f"gone-{place}.png", **SMALL})
    path.write_text("\n".join(written))


class Forked:
    """The command in a process of its own that need not import torch, with what `Popen` has of it."""

    def __init__(self, arguments: list[str]) -> None:
        self.returncode: int | None = None
        self._pid = os.fork()
        if not self._pid:
            try:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for stream in (1, 2):
                    os.dup2(nowhere, stream)
                inkpunk(arguments)
            except SystemExit as end:
                os._exit(end.code if isinstance(end.code, int) else 1)
            finally:
                os._exit(1)

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None and (told := os.waitpid(self._pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(told[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self._pid, number)

    def wait(self, timeout: float) -> None:
        """Wait until it ends, for so many seconds at most."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError(f"did not end within {timeout} s")
            time.sleep(0.01)


Running = Forked | subprocess.Popen[bytes]


def started(arguments: list[str]) -> Running:
    """The command as a user starts it."""
    command = [sys.executable, "-m", "inkpunk", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    """Which pictures are there, each with what would change if it were written again."""
    return {each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in folder.glob("*.png")}


def wait_for_picture(folder: Path, running: list[Running]) -> None:
    """Wait until there is one more picture than now, or nobody is at work any more."""
    before, until = len(pictures(folder)), time.monotonic() + PATIENCE
    while len(pictures(folder)) == before and time.monotonic() < until:
        if all(each.poll() is not None for each in running):
            return
        time.sleep(0.02)


def check_files(folder: Path, rows: Iterable[Row]) -> None:
    """Look whether every picture opens, all of it, and has the hash that its row tells."""
    for row in rows:
        if row.file is not None:
            data = (folder / row.file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row.sha256, f"{row.file}: another hash"
            assert data.endswith(PNG_END)
            with Image.open(folder / row.file) as image:
                image.load()


def check(file: Path, folder: Path) -> Counter[str]:
    """Look whether all is as it should be, and count it."""
    entries = [*read_orders(file)]
    orders = {each.order.key: each.order for each in entries if each.order is not None}
    failing = {key for key, order in orders.items() if "init" in order.values}
    drawn = {file_name(order) for key, order in orders.items() if key not in failing}
    assert {path.name for path in folder.iterdir()} - {".claims", NAME} >= drawn, "a picture is missing"
    assert {*pictures(folder)} == drawn, "there is a picture that nobody asked for"
    rows = [*read_rows(folder / NAME)]
    done = Counter(row.file for row in rows if row.file is not None)
    assert {*done} == drawn, "pictures and rows differ"
    assert {*done.values()} == {1}, "a picture has two rows"
    failed = Counter(row.key for row in rows if row.file is None)
    assert {*failed} >= failing, "a failure has no row"
    bad = {each.text for each in entries if each.order is None}
    assert len(failed) == len(failing) + len(bad), "a bad line has no row"
    check_files(folder, rows)
    return Counter(
        {
            "pictures": len(drawn),
            "failing orders": len(failing),
            "bad lines": len(bad),
            "rows of failures beyond one each": failed.total() - len(failed),
            "rows added on going on": sum(row.file is not None and row.seconds is None for row in rows),
            "torn lines": len((folder / NAME).read_bytes().splitlines()) - len(rows),
            "temporary files left": len([*folder.glob(".*.tmp")]),
        }
    )


@click.command()
@click.option("--kills", default=200, show_default=True)
@click.option("--lines", default=1500, show_default=True, help="Of the file of orders.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, lines: int, seed: int) -> None:
    """Kill, go on, and tell what came of it."""
    import_module("inkpunk.orders.batch")  # and torch with it, before the first fork
    chance = random.Random(seed)
    # what runs in the background may have it ignored, and so would all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as place:
        file, folder = Path(place, "orders.jsonl"), Path(place, "pictures")
        folder.mkdir()
        orders_file(file, lines, chance)
        command = ["batch", str(file), "--out", str(folder), "--device", "cpu"]
        killed, ended, seen, told = Counter[str](), 0, pictures(folder), b""
        start = time.monotonic()
        while killed.total() < kills:
            at_its_start = chance.random() < 0.2
            begin = started if at_its_start else Forked
            running: list[Running] = [begin(command) for _ in range(chance.choice([1, 1, 1, 1, 2]))]
            if at_its_start:
                time.sleep(chance.uniform(0, START))
            else:
                wait_for_picture(folder, running)
                time.sleep(chance.uniform(0, SOON))
            for each in running:
                by = chance.choice(SIGNALS)
                if each.poll() is None:
                    each.send_signal(by)
                    killed[by.name] += 1
                each.wait(PATIENCE)
                ended += each.returncode == 0
            now, manifest = pictures(folder), folder / NAME
            assert {*seen.items()} <= {*now.items()}, "a picture was written again, or is gone"
            rows = manifest.read_bytes() if manifest.exists() else b""
            assert rows.startswith(told), "rows changed"
            seen, told = now, rows
            if killed.total() % 20 < len(running):
                click.echo(f"{killed.total()} kills, {len(seen)} pictures, {time.monotonic() - start:.0f} s")
        last = started(command)
        last.wait(PATIENCE * 60)
        assert {*seen.items()} <= {*pictures(folder).items()}, "a picture was written again"
        click.echo(f"{dict(killed)}; {ended} ended by themselves before")
        for what, number in check(file, folder).items():
            click.echo(f"{what}: {number}")


if __name__ == "__main__":
    main()
