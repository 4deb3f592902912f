"""Kill workers of `inkpunk-fleet` and their driver over and over; look whether anything is lost, torn or done twice.

    uv run python -m tools.kill_fleet [--kills 50] [--drivers 5] [--seed 0]

A fleet of two workers runs over a file of small orders. At random moments, within a second after a new picture is
there, one of its workers is ended by SIGKILL, and now and then the driver, which is then started again. After the
last kill the fleet runs to its end, and then:

- every order that can be drawn has its picture, by its name, and nothing else is in the folder;
- every picture opens, all of it, and has the hash that its row tells;
- every picture has one row, and so has every line that is wrong and every order that fails;
- no picture that was there once was ever written again.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import psutil
from inkpunk.orders.files import read_orders
from inkpunk.orders.naming import file_name
from inkpunk_fleet import Store
from inkpunk_fleet.rows import parts, read_rows

from tools.kill_orders import check_files

SOON = 1.0  # seconds after a new picture
PATIENCE = 600.0  # seconds for a new picture: a worker that was killed loads its model again
SMALL = {"width": 64, "height": 64, "steps": 1, "device": "cpu"}


def orders_file(path: Path, lines: int) -> None:
    """Small orders, with bad lines and some that fail among them."""
    written = [json.dumps({"prompt": f"a raven {line}", **SMALL}) for line in range(lines)]
    for place in range(20, lines, 40):
        written[place] = '{"prompt": '
        written[place + 1] = json.dumps({"prompt": "fails", "init": f"gone-{place}.png", **SMALL})
        written[place + 2] = written[
            place + 3
        ]  # its double: not the same line, and the same seed only if it is told
    path.write_text("\n".join(written))


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    """Which pictures are there, each with what would change if it were written again."""
    return {each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in folder.glob("*.png")}


def workers(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that draw."""
    found = list[psutil.Process]()
    for each in psutil.Process(driver.pid).children(recursive=True):
        try:
            if each.cmdline()[:1] and each.cmdline()[0].startswith("ray::MapWorker"):
                found.append(each)
        except psutil.Error:
            continue
    return found


def check(file: Path, folder: Path) -> Counter[str]:
    """Look whether all is as it should be, and count it."""
    entries = [*read_orders(file)]
    orders = {each.order.key: each.order for each in entries if each.order is not None}
    failing = {key for key, order in orders.items() if "init" in order.values}
    expected = {file_name(order) for key, order in orders.items() if key not in failing}
    assert {*pictures(folder)} == expected, "pictures are missing, or too many"
    store = Store(str(folder))
    rows = [*read_rows(store, parts(store))]
    assert Counter(row.file for row in rows if row.file) == dict.fromkeys(expected, 1), (
        "not one row a picture"
    )
    bad = {each.text for each in entries if each.order is None}
    failed = Counter(row.key for row in rows if row.file is None)
    assert len(failed) == len(failing) + len(bad), "a failure has no row"
    check_files(folder, rows)
    return Counter(
        {
            "pictures": len(expected),
            "failing orders": len(failing),
            "bad lines": len(bad),
            "rows of failures beyond one each": failed.total() - len(failed),
            "rows added on going on": sum(row.file is not None and row.seconds is None for row in rows),
            "parts of rows": len(parts(store)),
        }
    )


def wait_for_picture(folder: Path, driver: subprocess.Popen[bytes]) -> None:
    """Wait until there is one more picture than now, or the fleet has ended."""
    before, until = len(pictures(folder)), time.monotonic() + PATIENCE
    while len(pictures(folder)) == before and driver.poll() is None:
        assert time.monotonic() < until, f"no new picture in {PATIENCE:.0f} s"
        time.sleep(0.05)


@click.command()
@click.option("--kills", default=50, show_default=True, help="Of workers.")
@click.option("--drivers", default=5, show_default=True, help="Kills of the driver, beside those.")
@click.option("--lines", default=20_000, show_default=True, help="Of the file of orders.")
@click.option("--seed", default=0, show_default=True)
@click.option("--minutes", default=60.0, show_default=True, help="After which no more are killed.")
def main(kills: int, drivers: int, lines: int, seed: int, minutes: float) -> None:
    """Kill, go on, and tell what came of it."""
    chance = random.Random(seed)
    plan = ["worker"] * kills + ["driver"] * drivers
    chance.shuffle(plan)
    with tempfile.TemporaryDirectory() as place:
        file, folder = Path(place, "orders.jsonl"), Path(place, "pictures")
        folder.mkdir()
        orders_file(file, lines)
        command = [sys.executable, "-m", "inkpunk_fleet", "run", str(file), "--out", str(folder)]
        command += ["--workers", "2", "--tasks", "4"]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        driver, killed, seen = start(), Counter[str](), pictures(folder)
        begin = time.monotonic()
        for whom in plan:
            wait_for_picture(folder, driver)
            time.sleep(chance.uniform(0, SOON))
            if driver.poll() is not None or time.monotonic() - begin > 60 * minutes:
                click.echo("no more kills: the orders, or the time, ran out")
                break
            if whom == "driver":
                its = workers(driver)
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                _, left = psutil.wait_procs(its, timeout=10)
                killed["workers that outlived their driver by ten seconds"] += len(left)
                driver = start()
            else:
                chance.choice(workers(driver)).kill()
            killed[whom] += 1
            now = pictures(folder)
            assert {*seen.items()} <= {*now.items()}, "a picture was written again, or is gone"
            seen = now
            click.echo(f"{dict(killed)}, {len(seen)} pictures, {time.monotonic() - begin:.0f} s")
        driver.wait()
        assert {*seen.items()} <= {*pictures(folder).items()}, "a picture was written again"
        for what, number in (killed + check(file, folder)).items():
            click.echo(f"{what}: {number}")


if __name__ == "__main__":
    main()
