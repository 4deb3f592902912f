"""Sends the studio malformed requests, made from its own description of its addresses, and looks for faults of ours.

    uv run --group fuzz python -m tools.fuzz_studio --cases 10000

Half of the cases keep to the description and half break it; half of those with a body are given what lets them come
as far as drawing: a small size, few steps, a picture. Whatever is sent, no answer may be a 500, and no refusal may be
more than a line.
"""

import base64
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from inkpunk_studio.app import create_app
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from PIL import Image
from schemathesis import GenerationMode

ENDLESS = ("/jobs/events",)  # it answers until somebody leaves
HOST = "testserver"  # what its client calls the application
SIDE = 32  # of the largest picture that is drawn
MOST_STEPS = 2
Ids = Callable[[], list[str]]
"""Gives the jobs that there are."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def picture() -> bytes:
    """A small PNG."""
    buffer = BytesIO()
    Image.new("RGBA", (SIDE, SIDE), (0, 128, 128, 128)).save(buffer, format="png")
    return buffer.getvalue()


IN_BASE64 = base64.b64encode(picture()).decode()
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=9)
ANYTHING = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CHOSEN = (
    "CLIP_stop_at_last_layers",
    "emphasis",
    "img2img_color_correction",
    "samples_format",
    "sd_vae",
    "none_such",
)
UNIT = st.fixed_dictionaries(
    {"module": st.sampled_from(["canny", "none", "none such"]), "image": st.just(IN_BASE64)},
    optional=dict.fromkeys(("enabled", "weight", "guidance_start", "guidance_end", "control_mode"), ANYTHING),
)
CONTROL = st.fixed_dictionaries(
    {"kind": st.sampled_from(["canny", "none such"]), "picture": st.just(IN_BASE64)},
    optional=dict.fromkeys(("weight", "start", "end"), ANYTHING),
)
SANE: dict[str, st.SearchStrategy[Any]] = {
    "prompt": st.text(max_size=20),
    "size": st.sampled_from([f"{SIDE}x{SIDE}", f"{SIDE - 1}x8"]),
    "width": st.just(SIDE),
    "height": st.just(SIDE),
    "steps": st.integers(1, MOST_STEPS),
    "n": st.integers(1, 2),
    "init": st.just(IN_BASE64),
    "mask": st.sampled_from(["alpha", IN_BASE64]),
    "stream": st.booleans(),
    "model": st.sampled_from(["sketch", "dall-e-2"]),
    "image": st.just(IN_BASE64),
    "init_images": st.just([IN_BASE64]),
    "batch_size": st.just(1),
    "n_iter": st.just(1),
    "enable_hr": st.booleans(),
    "denoising_strength": st.floats(0, 1),
    "styles": st.lists(st.text(max_size=9), max_size=2),
    "override_settings": st.dictionaries(st.sampled_from(CHOSEN), ANYTHING, max_size=3),
    "alwayson_scripts": st.fixed_dictionaries(
        {"ControlNet": st.fixed_dictionaries({"args": st.lists(UNIT, max_size=2)})}
    ),
    "control": st.lists(CONTROL, max_size=2),
}

NEEDED = ("prompt", "width", "height", "size", "steps", "image")  # for a picture to be drawn


@contextmanager
def studio() -> Iterator[tuple[FastAPI, Desk]]:
    """A studio that draws with the model in the box, and little of it."""
    with TemporaryDirectory() as folder:
        told = Settings(
            pictures=Path(folder) / "pictures",
            state=Path(folder) / "state",
            hosts=(HOST,),
            most_pixels=SIDE * SIDE,
            most_steps=MOST_STEPS,
            most_pictures=2,
            most_body=2**20,
        )
        with Desk(told) as desk:
            yield create_app(told, desk, page=False), desk


def fuzzed(app: FastAPI, ids: Ids, cases: int, first: int = 0) -> Counter[int]:
    """Send as many cases, spread over all addresses, and count the answers by their status.

    Raises:
        AssertionError: for an answer that tells of a fault of ours; hypothesis makes the request to it small.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    ways = [
        operation.as_strategy(generation_mode=mode)
        for operation in operations
        if operation.path not in ENDLESS
        for mode in MODES
    ]
    counted, number = Counter[int](), first * 1_000_000
    while counted.total() < cases:  # an address that takes little has few cases
        share = max(1, (cases - counted.total()) // len(ways))
        for way in ways:
            number += 1
            with suppress(Unsatisfiable):  # nothing can be broken of an address that takes nothing
                _send(way, share, number, ids, counted)
    return counted


def _send(strategy: st.SearchStrategy[Any], cases: int, number: int, ids: Ids, counted: Counter[int]) -> None:
    @seed(number)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[*HealthCheck],
    )
    @given(st.data())
    def send(data: st.DataObject) -> None:
        case = data.draw(strategy)
        if isinstance(case.body, dict) and data.draw(st.booleans()):
            more = data.draw(st.sets(st.sampled_from([*SANE])))
            sane = {name: data.draw(SANE[name]) for name in (*NEEDED, *sorted(more - {*NEEDED}))}
            case.body |= sane
            if "image" in case.body and case.media_type == "multipart/form-data":
                case.body["image"] = picture()
            if "orders" in case.body:
                case.body |= {"orders": [sane], "count": 1}
        if data.draw(st.booleans()):
            there = {"id": ids()[:1], "index": ["0"], "name": ["sketch"]}
            case.path_parameters |= {name: there[name][0] for name in case.path_parameters if there.get(name)}
        answer = case.call()
        counted[answer.status_code] += 1
        assert answer.status_code not in (500, 502), (
            f"{answer.status_code} to {case.as_curl_command()[:2000]}: {answer.text[:500]}"
        )
        if answer.status_code >= 400:
            assert "\n" not in str(answer.json().get("detail", "")), answer.text[:500]

    send()


@click.command()
@click.option("--cases", default=10_000, show_default=True)
@click.option("--seed", "first", default=0, show_default=True, help="Another makes other cases.")
def main(cases: int, first: int) -> None:
    """Send malformed requests."""
    start = time.perf_counter()
    with studio() as (app, desk):
        counted = fuzzed(app, lambda: [each.id for each in desk.jobs()], cases, first)
    told = ", ".join(f"{count} x {status}" for status, count in sorted(counted.items()))
    click.echo(f"{counted.total()} requests in {time.perf_counter() - start:.0f} s, no fault of ours: {told}")


if __name__ == "__main__":
    sys.exit(main())
