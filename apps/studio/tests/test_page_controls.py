"""Edit's pictures to follow and to see, each with the network that reads it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from inkpunk_studio.page import controls
from inkpunk_studio.page.controls import Followed, Seen, followed, seen
from inkpunk_studio.page.fields import DEFAULT
from inkpunk_studio.page.given import Given
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.models import Models
from PIL import Image

PICTURE = Image.new("RGB", (8, 8), "red")
MOST_PIXELS = 64 * 64


@pytest.fixture
def models(settings: Settings, shelf: Path) -> Models:
    return Models(replace(settings, models=(shelf,)))


def test_each_picture_goes_with_the_network_that_is_chosen_for_it() -> None:
    given = Given(MOST_PIXELS)
    Followed.read(given, (PICTURE, "canny", "outline_canny", 0.5, 0, 0.6, False))
    Followed.read(given, (PICTURE, "canny", "outline_canny", 1, 0.2, 1, True))
    Seen.read(given, (PICTURE, "ip-adapter_one", 0.7))
    [name] = {each.name for each in given.attachments}
    assert given.values == {
        "control": (f"canny:{name}:0.5:0-0.6",),
        "hint": (f"canny:{name}:1:0.2-1",),
        "control-net": ("canny=outline_canny",),
        "image-prompt": (f"{name}:0.7",),
        "ip-adapter": "ip-adapter_one",
    }


@pytest.mark.parametrize("network", [DEFAULT, None, ""])
def test_the_usual_network_is_not_named_and_no_picture_asks_for_nothing(network: str | None) -> None:
    given = Given(MOST_PIXELS)
    Followed.read(given, (PICTURE, "canny", network, 1, 0, 1, False))
    Followed.read(given, (None, "canny", "outline_canny", 1, 0, 1, False))
    Seen.read(given, (PICTURE, network, 1))
    Seen.read(given, (None, "ip-adapter_one", 1))
    assert {*given.values} == {"control", "image-prompt"}


async def _made(models: Models) -> list[list[object]]:
    with gr.Blocks():  # in a loop, or Gradio makes one that nobody closes
        made = followed(models), seen(models)
    networks = (each.components[place] for each, place in zip(made, (2, 1), strict=True))
    return [[name for _, name in each.choices] for each in networks if isinstance(each, gr.Dropdown)]


def test_those_that_are_there_can_be_chosen(models: Models) -> None:
    reading, seeing = asyncio.run(_made(models))
    assert reading == [DEFAULT, "sketch-canny", "outline_canny", "t2i/t2iadapter_canny"]
    assert seeing == [DEFAULT, "ip-adapter_one", "ip-adapter_two"]


def test_choosing_a_network_chooses_the_kind_that_its_name_says(models: Models) -> None:
    kind_of = controls._kind_of  # pyright: ignore[reportPrivateUsage]
    assert kind_of(models, "t2i/t2iadapter_canny") == "canny"
    assert kind_of(models, DEFAULT) != "canny"
