"""What the studio costs, and whether it keeps what it promises: each figure beside its limit.

    uv run python -m tools.benchmark_studio                              all of it, in some five minutes
    uv run python -m tools.benchmark_studio start [--times 5]            from the command to a page that draws
    uv run python -m tools.benchmark_studio picture [--turns 20] [--size 256] [--steps 20]
    uv run python -m tools.benchmark_studio typing                       a page in which somebody types, drawn live
    uv run python -m tools.benchmark_studio load [--clients 64] [--seconds 60]

`picture` draws and saves in turns: asking the studio and waiting for the picture's bytes, and calling Python; both
have a process of their own, and are warm. `load` has clients, in a process of their own, ask for small pictures one
after another; it asks meanwhile how the studio is, and cancels jobs, that wait and that are drawn, in turn.
"""

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import click
import httpx
import psutil
from PIL import Image

from tools.studio_process import Studio
from tools.studio_typist import Typist

PATIENCE = 600.0
MEGABYTE = 2**20
SETTLED = 10.0  # seconds of a load, after which memory is to stay as it is
START_SECONDS, ANSWER_SECONDS, HTTP_SHARE = 6.0, 0.1, 1.03  # what is promised at most
FLAT = 0.05
"""How much more memory may be held at a load's end: the first thousand results are kept, some 10 KB each."""
TEXT = "nvinkpunk raven on a branch at dusk, neon green splash"
START = ("uv", "run", "--no-sync", "inkpunk", "studio")


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """What the studio costs; without a command, all of it."""
    if context.invoked_subcommand is None:
        for each in (start, picture, typing, load):
            context.invoke(each)


@main.command()
@click.option("--times", default=5, show_default=True)
def start(times: int) -> None:
    """From the command to a page that draws: it is loaded, and a picture of one step has come.

    Beside it, in turns, what importing torch takes by itself, by which a slow hour is known.
    """
    taken, imports = list[float](), list[float]()
    for _ in range(times):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        imports.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with (
            _studio(command=START) as studio,
            httpx.Client(base_url=studio.address, timeout=PATIENCE) as client,
        ):
            client.get("/").raise_for_status()
            body = {"prompt": "a raven", "size": "64x64", "steps": 1}
            client.post("/v1/images/generations", json=body).raise_for_status()
            taken.append(time.perf_counter() - begin)
    told = ", ".join(f"{each:.1f}" for each in taken)
    click.echo(f"importing torch alone: median {statistics.median(imports):.1f} s")
    _judge(f"start: median {statistics.median(taken):.1f} s, of {told}", max(taken), START_SECONDS, "s")


@main.command()
@click.option("--turns", default=20, show_default=True)
@click.option("--size", default=256, show_default=True)
@click.option("--steps", default=20, show_default=True)
def picture(turns: int, size: int, steps: int) -> None:
    """A picture over HTTP beside the same through Python."""
    from inkpunk import Pipeline, Request

    times: dict[str, list[float]] = {"HTTP": [], "Python": []}
    with _studio("--no-page") as studio, tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline.load("sketch")
        with httpx.Client(base_url=studio.address, timeout=PATIENCE) as client:
            for turn in range(turns + 1):
                begin = time.perf_counter()
                body = {"prompt": "a raven", "size": f"{size}x{size}", "steps": steps, "seed": turn}
                answer = client.post("/v1/images/generations", json=body | {"response_format": "b64_json"})
                data = base64.b64decode(answer.raise_for_status().json()["data"][0]["b64_json"])
                http = time.perf_counter() - begin
                begin = time.perf_counter()
                request = Request("a raven", width=size, height=size, steps=steps, seeds=(turn,))
                path = pipeline.generate(request)[0].save(Path(folder) / f"{turn}.png")
                python = time.perf_counter() - begin
                assert _pixels(data) == _pixels(path.read_bytes()), "they are not the same"
                if turn:  # the first warms both
                    times["HTTP"].append(http)
                    times["Python"].append(python)
    for name, taken in times.items():
        click.echo(
            f"{name}: median {statistics.median(taken):.4f} s, least {min(taken):.4f} s, of {len(taken)}"
        )
    ratios = [one / other for one, other in zip(*times.values(), strict=True)]
    click.echo(f"HTTP / Python, of the least: {min(times['HTTP']) / min(times['Python']):.3f}")
    _judge("HTTP / Python, median of turns", statistics.median(ratios), HTTP_SHARE, "times")


@main.command()
def typing() -> None:
    """A page in which somebody types, with each pause drawn live."""
    with _studio() as studio:
        asyncio.run(_typing(studio))


async def _typing(studio: Studio) -> None:
    pages = list[float]()
    async with httpx.AsyncClient(base_url=studio.address, timeout=PATIENCE) as client:
        typist = Typist(client)
        await typist.type("warm")
        typist.read.clear()
        typing = asyncio.create_task(typist.type(TEXT))
        while not typing.done():
            sent = time.perf_counter()
            (await client.get("/")).raise_for_status()
            pages.append(time.perf_counter() - sent)
            await asyncio.sleep(0.1)
        await typing
    click.echo(f"typing: {len(TEXT)} keys, {typist.drawn} previews and pictures came meanwhile")
    _judge_times("each key's prompt, as it is read", typist.read)
    _judge_times("the page itself", pages)


@dataclass(frozen=True)
class Seen:
    """What was seen of a studio under load.

    Attributes:
        health, cancels: seconds that each answer took.
        stops: seconds from a cancelling until the job was over.
        memory: seconds since the beginning, and MiB.
        count: jobs that were cancelled, or not.
    """

    health: list[float] = field(default_factory=list[float])
    cancels: list[float] = field(default_factory=list[float])
    stops: list[float] = field(default_factory=list[float])
    memory: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    count: Counter[str] = field(default_factory=Counter[str])


@main.command()
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def load(clients: int, seconds: float) -> None:
    """Many clients at once."""
    with _studio("--no-page", "--most-waiting", str(clients + 8)) as studio:
        command = [sys.executable, "-m", "tools.studio_clients", studio.address]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        seen = Seen()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
            asyncio.run(_look(studio, seen, lambda: asking.poll() is None))
            assert asking.stdout is not None
            came = Counter[str](json.loads(asking.stdout.read()))
    lost = came["asked"] - came["answered"] - came["mixed up"] - came["told to come back"]
    click.echo(f"load: {clients} clients, {seconds:.0f} s: {dict(came)}; {dict(seen.count)}")
    _judge("requests that were lost or refused", lost, 0, "")
    _judge("answers that were mixed up", came["mixed up"], 0, "")
    _judge("jobs that were cancelled and went on", seen.count["not cancelled"], 0, "")
    _judge_times("health", seen.health)
    _judge_times("cancel", seen.cancels)
    click.echo(f"stopped after cancel: {_told(seen.stops)}")
    settled = [size for when, size in seen.memory if when >= min(SETTLED, seconds / 2)]
    part = max(1, len(settled) // 4)
    first, last = statistics.median(settled[:part]), statistics.median(settled[-part:])
    text = f"memory: {first:.0f} MiB when settled, {last:.0f} at the end, {max(settled):.0f} at most; grown"
    _judge(text, last / first, 1 + FLAT, "times")


async def _look(studio: Studio, seen: Seen, goes_on: Callable[[], bool]) -> None:
    async with httpx.AsyncClient(base_url=studio.address, timeout=PATIENCE) as client:
        await asyncio.gather(_ask(client, studio, seen, goes_on), _cancel(client, seen, goes_on))


async def _ask(client: httpx.AsyncClient, studio: Studio, seen: Seen, goes_on: Callable[[], bool]) -> None:
    process, begin = psutil.Process(studio.process.pid), time.monotonic()
    while goes_on():
        sent = time.perf_counter()
        (await client.get("/health")).raise_for_status()
        seen.health.append(time.perf_counter() - sent)
        seen.memory.append((time.monotonic() - begin, process.memory_info().rss / MEGABYTE))
        await asyncio.sleep(0.1)


async def _cancel(client: httpx.AsyncClient, seen: Seen, goes_on: Callable[[], bool]) -> None:
    while goes_on():
        await asyncio.sleep(0.5)
        order = {"prompt": "gone", "width": 64, "height": 64, "steps": 100, "seed": 1}
        answer = await client.post("/jobs", json={"orders": [order]})
        if answer.status_code == 429:
            continue
        id = answer.json()["id"]
        if len(seen.cancels) % 2:  # every other one while it is drawn
            await client.post(f"/jobs/{id}/move", json={"place": 0})
            while (await client.get(f"/jobs/{id}")).json()["state"] == "waiting":
                await asyncio.sleep(0.005)
        sent = time.perf_counter()
        (await client.post(f"/jobs/{id}/cancel")).raise_for_status()
        seen.cancels.append(time.perf_counter() - sent)
        with suppress(httpx.HTTPError):
            async with client.stream("GET", f"/jobs/{id}/events") as events:
                await events.aread()
        seen.stops.append(time.perf_counter() - sent)
        state = (await client.get(f"/jobs/{id}")).json()["state"]
        seen.count["cancelled" if state == "cancelled" else "not cancelled"] += 1


@contextmanager
def _studio(*options: str, **how: Sequence[str]) -> Generator[Studio]:
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio.start(Path(folder), *options, **how)
        try:
            yield studio
        finally:
            studio.kill()


def _told(taken: Sequence[float]) -> str:
    told = sorted(1000 * each for each in taken)
    at = told[int(0.99 * (len(told) - 1))]
    return f"median {statistics.median(told):.0f} ms, 99 of 100 {at:.0f} ms, most {told[-1]:.0f} ms, of {len(told)}"


def _judge_times(name: str, taken: Sequence[float]) -> None:
    _judge(f"{name}: {_told(taken)}", 1000 * max(taken), 1000 * ANSWER_SECONDS, "ms")


def _judge(text: str, value: float, most: float, unit: str) -> None:
    """Print a figure, its limit, and whether it is within."""
    verdict = "holds" if value <= most else "FAILS"
    click.echo(f"{text}: {value:.4g} {unit}, at most {most:g}: {verdict}")


def _pixels(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return image.tobytes()


if __name__ == "__main__":
    main()
