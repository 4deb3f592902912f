"""ControlNet's units as AUTOMATIC1111's clients send them, and networks beside pictures in our own objects."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk.orders.values import OrderError
from inkpunk_studio.http.a1111.controls import scripts
from inkpunk_studio.http.beside import networks_beside
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.models import Models
from inkpunk_studio.work.networks import Networks

PICTURE = "iVBOR"


@pytest.fixture
def networks(settings: Settings, shelf: Path) -> Networks:
    return Models(replace(settings, models=(shelf,))).networks


def units(
    networks: Networks, *told: dict[str, Any], init: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    return scripts({"ControlNet": {"args": [{"image": PICTURE, **each} for each in told]}}, init, networks)


def test_all_fields_of_a_unit_are_followed(networks: Networks) -> None:
    values, warnings = units(
        networks,
        {
            "module": "canny",
            "model": "outline_canny [d14c016b]",
            "weight": 0.7,
            "guidance_start": 0.1,
            "guidance_end": 0.6,
            "control_mode": "ControlNet is more important",
            "pixel_perfect": True,
            "resize_mode": "Just Resize",
            "threshold_a": 100,
            "threshold_b": 200,
        },
    )
    assert values == {
        "control": [{"kind": "canny", "picture": PICTURE, "weight": 0.7, "start": 0.1, "end": 0.6}],
        "control-net": ["canny=outline_canny"],
        "guess": True,
        "resize": "stretch",
    }
    assert warnings == []


def test_a_picture_that_is_ready_is_read_as_its_network_says(networks: Networks) -> None:
    values, _ = units(networks, {"module": "none", "model": "t2iadapter_canny [00000000]"})
    assert values["hint"][0]["kind"] == "canny"
    assert values["control-net"] == ["canny=t2i/t2iadapter_canny"]


def test_two_ready_pictures_of_one_kind_may_have_a_network_each(networks: Networks) -> None:
    values, _ = units(
        networks, {"model": "outline_canny"}, {"model": "t2iadapter_canny"}, {"model": "outline_canny"}
    )
    assert [each["kind"] for each in values["hint"]] == ["canny", "t2i_t2iadapter_canny", "canny"]
    assert values["control-net"] == ["canny=outline_canny", "t2i_t2iadapter_canny=t2i/t2iadapter_canny"]


def test_an_image_prompt_is_a_unit_too(networks: Networks) -> None:
    unit = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_two [1234abcd]", "weight": 0.6}
    values, warnings = units(networks, unit, {**unit, "guidance_end": 0.5})
    assert values == {
        "image-prompt": [{"picture": PICTURE, "weight": 0.6}] * 2,
        "ip-adapter": "ip-adapter_two",
    }
    assert warnings == ["ControlNet 1: an image prompt counts at all steps here"]


def test_a_unit_follows_what_is_begun_from_where_it_has_no_picture(networks: Networks) -> None:
    values, _ = scripts({"controlnet": {"args": [{"module": "canny", "resize_mode": 0}]}}, "AAAA", networks)
    assert values["control"][0]["picture"] == "AAAA"
    assert "resize" not in values  # it is fitted as that is


@pytest.mark.parametrize("picture", [{"image": PICTURE, "mask": None}, PICTURE])
def test_older_names_of_a_units_picture_are_known(networks: Networks, picture: object) -> None:
    values, _ = scripts(
        {"controlnet": {"args": [{"module": "canny", "input_image": picture}]}}, None, networks
    )
    assert values["control"][0]["picture"] == PICTURE


def test_a_published_network_that_is_not_here_is_the_usual_one(networks: Networks) -> None:
    values, warnings = units(networks, {"module": "canny", "model": "control_v11p_sd15_canny [d14c016b]"})
    assert "control-net" not in values
    assert len(warnings) == 1 and "is not here; the usual one was taken" in warnings[0]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"module": "canny", "model": "nobody [12345678]"}, "there is sketch-canny"),
        ({"module": "canny", "model": "/etc/passwd"}, "is not among those listed"),
        (
            {"module": "openpose_full", "model": "outline_canny"},
            "module 'openpose_full' is not here, only none, canny",
        ),
        ({"module": "canny", "image": 3}, "has no picture"),
        ({"module": "none", "model": "none"}, "neither module nor model says what is followed"),
    ],
)
def test_a_unit_that_cannot_be_followed_is_refused_in_one_line(
    networks: Networks, told: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refusal) as refused:
        units(networks, told)
    assert said in refused.value.message
    assert refused.value.message.startswith("ControlNet 0")


def test_hints_that_are_made_have_one_network_a_kind(networks: Networks) -> None:
    with pytest.raises(Refusal, match="ControlNet 1: one network reads canny"):
        units(networks, {"module": "canny", "model": "outline_canny"}, {"module": "canny"})
    unit = {"module": "ip-adapter_clip_sd15", "model": "ip-adapter_one"}
    with pytest.raises(Refusal, match="ControlNet 1: another unit sees"):
        units(networks, unit, {**unit, "model": "ip-adapter_two"})


def test_what_is_not_followed_is_named(networks: Networks) -> None:
    told = {
        "module": "canny",
        "threshold_a": 64,
        "control_mode": 1,
        "mask": PICTURE,
        "resize_mode": "sideways",
    }
    _, warnings = units(networks, told, {"enabled": False, "module": "openpose"})
    assert [line.removeprefix("ControlNet 0: ").split()[0] for line in warnings] == [
        "threshold_a",
        "resize_mode",
        "control_mode",
        "its",
    ]


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
names = st.sampled_from(
    ["module", "model", "image", "weight", "control_mode", "resize_mode", "guidance_end", "enabled"]
)
BARE = Models(Settings(hub=None)).networks


@given(
    st.lists(
        st.dictionaries(names, nested | st.sampled_from(["canny", "none", "sketch-canny", "2"])), max_size=3
    )
)
def test_any_units_are_read_or_refused(told: list[dict[str, Any]]) -> None:
    try:
        values, _ = scripts({"controlnet": {"args": told}}, None, BARE)
    except Refusal as error:
        assert "\n" not in error.message
        return
    assert {*values} <= {"control", "hint", "control-net", "image-prompt", "ip-adapter", "guess", "resize"}


def test_a_network_may_stand_beside_its_picture() -> None:
    canny = {"kind": "canny", "picture": PICTURE, "network": "outline"}
    assert networks_beside({"control": canny, "hint": [canny | {"kind": "pose"}, "pose:AAAA"]}) == {
        "control-net": ["canny=outline", "pose=outline"]
    }
    assert networks_beside({"control": [canny], "control-net": "canny=outline"})["control-net"] == [
        "canny=outline"
    ]
    seen = {"picture": PICTURE, "network": "eyes"}
    assert networks_beside({"image-prompt": [seen, seen], "ip-adapter": "eyes"}) == {"ip-adapter": "eyes"}
    assert networks_beside({"control": "canny:AAAA", "image-prompt": "AAAA"}) == {}


@pytest.mark.parametrize(
    "told",
    [
        {"image-prompt": [{"network": "a"}, {"network": "b"}]},
        {"image-prompt": {"network": "a"}, "ip-adapter": "b"},
        {"control": {"kind": "canny", "network": ["a"]}},
    ],
)
def test_networks_that_cannot_be_are_refused(told: dict[str, object]) -> None:
    with pytest.raises(OrderError):
        networks_beside(told)
