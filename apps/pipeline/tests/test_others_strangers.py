"""Strangers' recipes: whatever is in them, they are read or refused in one line, soon, and name no file elsewhere."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Order
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import Told, read_others
from inkpunk.pictures.others.plain import file_name
from inkpunk.pictures.recipe import Recipe

LONGEST = 20.0  # seconds; a busy machine's, of what takes a tenth of one
NAMES = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream", "Comment")
INFOTEXT = (
    "a [glass:brass:4] frog <lora:ink:1>\nNegative prompt: mud\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, "
    "Seed: 3, Size: 512x768, Clip skip: 2, Denoising strength: 0.5, Hires upscale: 2, Hires steps: 3, "
    "Hires upscaler: Latent, Variation seed: 5, Variation seed strength: 0.1, Mask blur: 4, "
    'ControlNet 0: "Module: canny, Model: x", Hashes: {"model": "12"}, Eta: 1, Version: v1.10.1'
)
REAL: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "others" / "strangers.json").read_text()
)
GRAPH = REAL["prompt"]
LINK = st.tuples(st.sampled_from([*GRAPH]), st.integers(0, 2)).map(list)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, "1e999", "nan", "512x0", "../../x", -1]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4) | LINK
    ),
    max_leaves=8,
)


def read_or_refuse(texts: dict[str, str]) -> Told | None:
    """Read; hold what comes of it to what callers may trust."""
    begun = time.monotonic()
    try:
        told = read_others(Recipe("PNG", 640, 517, texts))
    except PictureError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        told = None
    assert time.monotonic() - begun < LONGEST
    if told is not None:
        for line in (told.program, told.model_hash, *told.not_understood, *told.needs):
            assert "\n" not in line and len(line) < 1000
        Order.read(told.values).request()
        json.dumps(dict(told.values))
    return told


def changed(value: Any, draw: Callable[[Any], Any]) -> Any:
    """A value of JSON, in which something may be another."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON | LINK)
    if isinstance(value, dict):
        names = [draw(st.text(max_size=5)) if draw(st.integers(0, 40)) == 0 else name for name in value]
        return {name: changed(each, draw) for name, each in zip(names, value.values(), strict=True)}
    return [changed(each, draw) for each in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=20)
@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=200) | JSON.map(json.dumps), min_size=1))
def test_any_text_is_read_or_refused(texts: dict[str, str]) -> None:
    read_or_refuse(texts)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([*REAL]), st.data())
def test_a_recipe_in_which_something_is_another_is_read_or_refused(name: str, data: st.DataObject) -> None:
    read_or_refuse({name: json.dumps(changed(REAL[name], data.draw))})


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(INFOTEXT)),
            st.integers(0, 30),
            st.text(max_size=6) | st.sampled_from([", ", ": ", '"', "{", "\n", "Steps: 1, "]),
        ),
        max_size=5,
    )
)
def test_an_infotext_with_changes_is_read_or_refused(changes: list[tuple[int, int, str]]) -> None:
    text = INFOTEXT
    for place, length, instead in changes:
        text = text[:place] + instead + text[place + length :]
    read_or_refuse({"parameters": text})


def test_those_recipes_are_read_where_nothing_is_changed() -> None:
    assert read_or_refuse({"parameters": INFOTEXT})
    for name, value in REAL.items():
        told = read_or_refuse({name: json.dumps(value)})
        assert told is not None and told.values["seed"] == 3, name


def graph(nodes: dict[str, Any]) -> dict[str, str]:
    return {"prompt": json.dumps(GRAPH | nodes)}


def saved(name: str, node: str) -> dict[str, Any]:
    return {name: {"class_type": "SaveImage", "inputs": {"images": [node, 0]}}}


def in_a_row(kind: str, key: str, count: int = 3000) -> dict[str, Any]:
    """Nodes that go in a circle."""
    links = {f"n{place}": [f"n{(place + 1) % count}", 0] for place in range(count)}
    return {name: {"class_type": kind, "inputs": {key: link}} for name, link in links.items()}


def many_ends() -> dict[str, Any]:
    row = in_a_row("ImageScale", "image")
    return row | {key: node for each in row for key, node in saved(f"s{each}", each).items()}


def sampled_by(model: str) -> dict[str, Any]:
    return {"3": {**GRAPH["3"], "inputs": {**GRAPH["3"]["inputs"], "model": [model, 0]}}}


HUGE: dict[str, Callable[[], dict[str, str]]] = {
    "nothing but brackets": lambda: {"prompt": "[" * 1_000_000},
    "objects within objects": lambda: {"invokeai_metadata": '{"a":' * 200_000},
    "a number of a million digits": lambda: {"prompt": "9" * 1_000_000},
    "a prompt of a million braces": lambda: {"parameters": "{" * 1_000_000 + "\n" + INFOTEXT},
    "the longest prompt, of braces": lambda: {"parameters": "{" * 50_000 + "\nSteps: 2, Seed: 3, Size: 8x8"},
    "the longest prompt, of brackets": lambda: {
        "parameters": "[:" * 30_000 + "\nSteps: 2, Seed: 3, Size: 8x8"
    },
    "a million pairs": lambda: {"parameters": "a\nSteps: 2, " + "a: b, " * 1_000_000},
    "a million commas": lambda: {"parameters": "a\nSteps: 2, Seed: 3, Size: 8x8, x: " + "," * 1_000_000},
    "a million quotes": lambda: {"parameters": "a\nSteps: 2, Seed: 3, Size: 8x8, " + 'x: "a, ' * 200_000},
    "a million open objects": lambda: {
        "parameters": "a\nSteps: 2, Seed: 3, Size: 8x8, " + "x: {[, " * 200_000
    },
    "a million lines": lambda: {"parameters": "Steps: 2\n" * 500_000},
    "a key of spaces": lambda: {"parameters": "Steps: 2, Seed: 3, a" + " " * 1_000_000},
    "reroutes in a circle": lambda: graph(in_a_row("Reroute", "") | saved("9", "n0")),
    "many pictures saved by long ways": lambda: graph(many_ends()),
    "models in a circle": lambda: graph(in_a_row("LoraLoaderModelOnly", "model") | sampled_by("n0")),
    "patches in a circle": lambda: graph(in_a_row("Patch", "model") | sampled_by("n0")),
    "a command of quotes": lambda: {"Dream": '"' * 19_999},
    "a command of spaces": lambda: {"Dream": '"a"' + " -" * 9000},
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_recipes_are_read_or_refused_soon(name: str) -> None:
    read_or_refuse(HUGE[name]())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("dream.safetensors", "dream.safetensors"),
        ("sd15\\dream.safetensors", "sd15/dream.safetensors"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\models\\dream.ckpt", "models/dream.ckpt"),
        ("\\\\server\\share\\dream.ckpt", "server/share/dream.ckpt"),
        ("../../dream.ckpt", "dream.ckpt"),
        ("https://somewhere/dream.ckpt", "somewhere/dream.ckpt"),
        ("~/dream.ckpt", "dream.ckpt"),
        ("..", ""),
    ],
)
def test_files_are_named_within_their_programs_folders(theirs: str, ours: str) -> None:
    assert file_name(theirs) == ours
    assert not Path(ours).is_absolute()
