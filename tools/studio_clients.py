"""Many clients of one studio, in a process apart from whoever measures it meanwhile.

    uv run python -m tools.studio_clients http://127.0.0.1:7860 [--clients 64] [--seconds 60]

Each asks for small pictures one after another, and looks whether each answer's recipe is its request's. What came
of it is told as JSON.
"""

import asyncio
import base64
import json
import time
from collections import Counter
from io import BytesIO

import click
import httpx
from PIL import Image

SMALL = {"size": "64x64", "steps": 4, "response_format": "b64_json"}
PATIENCE = 600.0


@click.command()
@click.argument("address")
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(address: str, clients: int, seconds: float) -> None:
    """Ask for pictures, as many clients at once."""
    click.echo(json.dumps(asyncio.run(_ask(address, clients, seconds))))


async def _ask(address: str, clients: int, seconds: float) -> Counter[str]:
    until, count = time.monotonic() + seconds, Counter[str]()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as client:

        async def draw(number: int) -> None:
            turn = 0
            while time.monotonic() < until:
                turn += 1
                prompt, seed = f"a raven of client {number}, turn {turn}", 1000 * number + turn
                count["asked"] += 1
                body = {"prompt": prompt, "seed": seed, **SMALL}
                answer = await client.post("/v1/images/generations", json=body)
                if answer.status_code == 429:
                    count["told to come back"] += 1
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                elif answer.is_success:
                    recipe = _recipe(answer.json()["data"][0]["b64_json"])
                    right = recipe.startswith(f"{prompt}\n") and f"Seed: {seed}," in recipe
                    count["answered" if right else "mixed up"] += 1
                else:
                    count[f"refused with {answer.status_code}"] += 1

        await asyncio.gather(*(draw(number) for number in range(clients)))
    return count


def _recipe(text: str) -> str:
    with Image.open(BytesIO(base64.b64decode(text))) as image:
        return str(image.info["parameters"])


if __name__ == "__main__":
    main()
