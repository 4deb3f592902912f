"""Kill the studio in mid-queue over and over; look whether any job is lost, torn, or done twice.

    uv run python -m tools.kill_studio [--kills 20] [--jobs 6] [--seed 0]

Each run of the studio goes on with what the last one left, and takes new jobs beside it, of three small pictures
each. At a random moment within a second after a new picture is there, it is ended by SIGKILL. After the last kill it
may finish. Then every job is done, each of its pictures is there once, opens, and carries the recipe that was asked
for, and none was ever written again.
"""

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import httpx
from inkpunk import read_facts
from PIL import Image

from tools.studio_process import Studio

SMALL = {"width": 64, "height": 64, "steps": 4}
SOON = 1.0  # seconds after a new picture
PATIENCE = 600.0
PICTURES = 3  # of a job


def pictures(folder: Path) -> dict[str, tuple[int, int]]:
    """Which pictures are there, each with what would change if it were written again."""
    return {
        each.name: (each.stat().st_ino, each.stat().st_mtime_ns) for each in folder.glob("pictures/*.png")
    }


def check(folder: Path, asked: dict[str, list[int]], jobs: list[dict[str, object]]) -> None:
    """Look whether every picture is there once, and is what was asked for."""
    assert {job["id"]: job["state"] for job in jobs} == dict.fromkeys(asked, "done"), "a job is not done"
    found = Counter[tuple[str, int]]()
    for path in folder.glob("pictures/*.png"):
        with Image.open(path) as image:
            image.load()
        facts = read_facts(path)
        found[facts.prompt, facts.seed] += 1
    wanted = [(f"a raven {seeds[0]}", seed) for seeds in asked.values() for seed in seeds]
    assert found == Counter(wanted), "a picture is missing, or there twice"


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--jobs", default=6, show_default=True, help="New ones at each start.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, jobs: int, seed: int) -> None:
    """Kill, go on, and tell what came of it."""
    chance, asked, seen = random.Random(seed), dict[str, list[int]](), dict[str, tuple[int, int]]()
    left = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for run in range(kills + 1):
            studio = Studio.start(folder, "--no-page", "--most-waiting", "1000")
            with httpx.Client(base_url=studio.address, timeout=PATIENCE) as client:
                for number in range(jobs):
                    first = 1000 * run + 10 * number
                    order = {"prompt": f"a raven {first}", "seed": first, **SMALL}
                    answer = client.post("/jobs", json={"orders": [order], "count": PICTURES})
                    answer.raise_for_status()
                    asked[answer.json()["id"]] = [*range(first, first + PICTURES)]
                if run < kills:
                    before, until = len(pictures(folder)), time.monotonic() + PATIENCE
                    while len(pictures(folder)) == before:
                        assert time.monotonic() < until, "no new picture"
                        time.sleep(0.01)
                    time.sleep(chance.uniform(0, SOON))
                    studio.kill()
                else:
                    for id in asked:
                        with client.stream("GET", f"/jobs/{id}/events") as events:
                            events.read()
                    told = [client.get(f"/jobs/{id}").json() for id in asked]
                    studio.kill()
                    check(folder, asked, told)
            now = pictures(folder)
            assert {*seen.items()} <= {*now.items()}, "a picture was written again, or is gone"
            left += len(asked) * PICTURES - len(now)
            seen = now
            click.echo(f"run {run + 1}: {len(asked)} jobs, {len(seen)} pictures")
    click.echo(
        f"{kills} kills, {len(asked)} jobs, {len(seen)} pictures: each there once; {left / kills:.0f} left at a kill"
    )


if __name__ == "__main__":
    main()
