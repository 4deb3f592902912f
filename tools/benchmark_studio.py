"""What the studio costs: a picture over HTTP beside the same through Python, and many clients at once.

    uv run python -m tools.benchmark_studio picture [--turns 20] [--size 256] [--steps 20]
    uv run python -m tools.benchmark_studio load [--clients 64] [--seconds 60]

`picture` draws and saves in turns: asking the studio and waiting for the picture's bytes, and calling Python; both
have a process of their own, and are warm. `load` has clients ask for small pictures one after another, reads each
answer's recipe, and meanwhile asks how the studio is, and cancels jobs.
"""

import asyncio
import base64
import statistics
import tempfile
import time
from collections import Counter
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import httpx
import psutil
from inkpunk import Pipeline, Request
from PIL import Image

from tools.studio_process import Studio

SMALL = {"size": "64x64", "steps": 4, "response_format": "b64_json"}
PATIENCE = 600.0
SETTLED = 10.0  # seconds of a load, after which memory is to stay as it is
MEGABYTE = 2**20


@click.group()
def main() -> None:
    """What the studio costs."""


@main.command()
@click.option("--turns", default=20, show_default=True)
@click.option("--size", default=256, show_default=True)
@click.option("--steps", default=20, show_default=True)
def picture(turns: int, size: int, steps: int) -> None:
    """A picture over HTTP beside the same through Python."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        studio = Studio.start(folder, "--no-page")
        pipeline = Pipeline.load("sketch")
        times: dict[str, list[float]] = {"HTTP": [], "Python": []}
        with httpx.Client(base_url=studio.address, timeout=PATIENCE) as client:
            for turn in range(turns + 1):
                begin = time.perf_counter()
                body = {"prompt": "a raven", "size": f"{size}x{size}", "steps": steps, "seed": turn}
                answer = client.post("/v1/images/generations", json=body | {"response_format": "b64_json"})
                data = base64.b64decode(answer.raise_for_status().json()["data"][0]["b64_json"])
                http = time.perf_counter() - begin
                begin = time.perf_counter()
                request = Request("a raven", width=size, height=size, steps=steps, seeds=(turn,))
                path = pipeline.generate(request)[0].save(folder / f"{turn}.png")
                python = time.perf_counter() - begin
                assert _pixels(data) == _pixels(path.read_bytes()), "they are not the same"
                if turn:  # the first warms both
                    times["HTTP"].append(http)
                    times["Python"].append(python)
        studio.kill()
    for name, taken in times.items():
        click.echo(
            f"{name}: median {statistics.median(taken):.4f} s, least {min(taken):.4f} s, of {len(taken)}"
        )
    ratios = [one / other for one, other in zip(*times.values(), strict=True)]
    click.echo(
        f"HTTP / Python: median of turns {statistics.median(ratios):.3f}, of the least {_least(times):.3f}"
    )
    click.echo(f"ready {studio.seconds:.1f} s after its start, without the page")


@main.command()
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def load(clients: int, seconds: float) -> None:
    """Many clients at once."""
    with tempfile.TemporaryDirectory() as place:
        studio = Studio.start(Path(place), "--no-page", "--most-waiting", str(clients + 8))
        try:
            asyncio.run(_load(studio, clients, seconds))
        finally:
            studio.kill()


async def _load(studio: Studio, clients: int, seconds: float) -> None:
    until, count = time.monotonic() + seconds, Counter[str]()
    health, cancels, stops, memory = list[float](), list[float](), list[float](), list[tuple[float, float]]()
    limits = httpx.Limits(max_connections=clients + 8)
    async with httpx.AsyncClient(base_url=studio.address, timeout=PATIENCE, limits=limits) as client:

        async def draw(number: int) -> None:
            turn = 0
            while time.monotonic() < until:
                turn += 1
                prompt, seed = f"a raven of client {number}, turn {turn}", 1000 * number + turn
                count["asked"] += 1
                answer = await client.post(
                    "/v1/images/generations", json={"prompt": prompt, "seed": seed, **SMALL}
                )
                if answer.status_code == 429:
                    count["told to come back"] += 1
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                    continue
                data = base64.b64decode(answer.raise_for_status().json()["data"][0]["b64_json"])
                recipe = _recipe(data)
                right = recipe.startswith(f"{prompt}\n") and f"Seed: {seed}," in recipe
                count["answered" if right else "mixed up"] += 1

        async def ask() -> None:
            process = psutil.Process(studio.process.pid)
            begin = time.monotonic()
            while time.monotonic() < until:
                sent = time.perf_counter()
                (await client.get("/health")).raise_for_status()
                health.append(time.perf_counter() - sent)
                memory.append((time.monotonic() - begin, process.memory_info().rss / MEGABYTE))
                await asyncio.sleep(0.1)

        async def cancel() -> None:
            while time.monotonic() < until:
                await asyncio.sleep(0.5)
                order = {"prompt": "gone", "width": 64, "height": 64, "steps": 100, "seed": 1}
                answer = await client.post("/jobs", json={"orders": [order]})
                if answer.status_code == 429:
                    continue
                id = answer.json()["id"]
                if len(cancels) % 2:  # every other one while it is drawn
                    await client.post(f"/jobs/{id}/move", json={"place": 0})
                    while (await client.get(f"/jobs/{id}")).json()["state"] == "waiting":
                        await asyncio.sleep(0.005)
                sent = time.perf_counter()
                (await client.post(f"/jobs/{id}/cancel")).raise_for_status()
                cancels.append(time.perf_counter() - sent)
                with suppress(httpx.HTTPError):
                    async with client.stream("GET", f"/jobs/{id}/events") as events:
                        await events.aread()
                stops.append(time.perf_counter() - sent)
                job: dict[str, Any] = (await client.get(f"/jobs/{id}")).json()
                count["cancelled" if job["state"] == "cancelled" else "not cancelled"] += 1

        await asyncio.gather(ask(), cancel(), *(draw(number) for number in range(clients)))
    lost = count["asked"] - count["answered"] - count["mixed up"] - count["told to come back"]
    click.echo(f"{clients} clients, {seconds:.0f} s: {dict(count)}, {lost} lost")
    for name, taken in (("health", health), ("cancel", cancels), ("stopped after cancel", stops)):
        taken.sort()
        at = 1000 * taken[int(0.99 * (len(taken) - 1))]
        median, most = 1000 * statistics.median(taken), 1000 * taken[-1]
        click.echo(
            f"{name}: median {median:.0f} ms, 99 of 100 {at:.0f} ms, most {most:.0f} ms, of {len(taken)}"
        )
    settled = [size for when, size in memory if when >= min(SETTLED, seconds / 2)]
    click.echo(
        f"memory: {settled[0]:.0f} MiB when settled, {settled[-1]:.0f} at the end, {max(settled):.0f} at most"
    )


def _pixels(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return image.tobytes()


def _recipe(data: bytes) -> str:
    with Image.open(BytesIO(data)) as image:
        return str(image.info["parameters"])


def _least(times: dict[str, list[float]]) -> float:
    return min(times["HTTP"]) / min(times["Python"])


if __name__ == "__main__":
    main()
