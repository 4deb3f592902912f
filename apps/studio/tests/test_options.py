"""Options of a request: read as the command line reads them, pictures in them taken out, wrong names named."""

import base64
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk.orders.options import OPTIONS
from inkpunk.orders.values import OrderError
from inkpunk_studio.http.incoming import Incoming, IncomingError, read_bytes
from inkpunk_studio.http.options import MOST_EACH, asked, known
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import check_names
from PIL import Image

SETTINGS = Settings()


def text_of(colour: str = "teal", size: tuple[int, int] = (8, 8)) -> str:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def read(**values: Any) -> dict[str, object]:
    told = asked({"prompt": "a raven", "seed": 1, **values}, 1, SETTINGS)
    check_names(told.orders[0], [each.name for each in told.attachments])
    return {**told.orders[0].values}


def test_seeds_count_on_and_a_fresh_one_is_made_for_none_and_for_minus_one() -> None:
    assert [each.seed for each in asked({"prompt": "a", "seed": "7"}, 3, SETTINGS).orders] == [7, 8, 9]
    assert [each.seed for each in asked({"prompt": "a", "seed": 2**63 - 1}, 2, SETTINGS).orders] == [
        2**63 - 1,
        0,
    ]
    for none in (None, -1):
        one, other = (asked({"prompt": "a", "seed": none}, 1, SETTINGS).orders[0].seed for _ in range(2))
        assert one is not None and other is not None and one != other


@pytest.mark.parametrize("seed", [2**63, "seven", 1.5, True, [1], "nan"])
def test_a_seed_that_is_none_is_refused(seed: object) -> None:
    with pytest.raises(OrderError, match="seed"):
        asked({"prompt": "a", "seed": seed}, 1, SETTINGS)


def test_a_name_is_told_as_the_command_line_or_python_has_it() -> None:
    assert read(negative="grey", clip_skip=2) == read(negative_prompt="grey", **{"clip-skip": 2})


@pytest.mark.parametrize(
    ("name", "meant"),
    [("smapler", "sampler"), ("guidence", "guidance"), ("negative_promt", "negative-prompt")],
)
def test_a_misspelt_name_is_named(name: str, meant: str) -> None:
    told, warnings = known({name: 1, "prompt": "a", "batch_size": 3})
    assert (told, len(warnings)) == ({"prompt": "a"}, 1)
    assert warnings[0].startswith(f"{name}: ") and meant in warnings[0]


def test_a_thousand_wrong_names_cost_no_more_than_a_hundred() -> None:
    assert len(known({f"sampler{place}": 1 for place in range(1000)})[1]) == 100


@pytest.mark.parametrize("option", ["control", "hint"])
def test_a_control_is_text_or_an_object(option: str) -> None:
    object_ = {"kind": "canny", "picture": text_of(), "weight": 0.5, "start": 0.1, "end": 0.6}
    [one] = read(**{option: object_})[option]
    [other] = read(**{option: f"canny:{text_of()}:0.5:0.1-0.6"})[option]
    assert one.replace("00000", "") == other
    [uri] = read(**{option: [f"canny:data:image/png;base64,{text_of()}"]})[option]
    assert uri == other.removesuffix(":0.5:0.1-0.6")


def test_an_image_prompt_and_a_region_are_text_or_objects() -> None:
    assert read(image_prompt={"picture": text_of(), "weight": 0.5})["image-prompt"] == tuple(
        each + "00000" for each in read(image_prompt=f"{text_of()}:0.5")["image-prompt"]
    )
    region = {"prompt": "a fox, at @ dusk", "mask": text_of()}
    assert read(region=region) == read(region=[f"a fox, at @ dusk@{text_of()}"])


@pytest.mark.parametrize(
    "values",
    [
        {"control": 7}, {"control": "canny"}, {"control": {"kind": "canny"}}, {"region": "a fox"}, {"init": ["AAAA"]},
        {"mask": {"picture": "AAAA"}}, {"hint": {"kind": "canny", "picture": "AAAA", "weight": "heavy"}},
        {"image-prompt": [None]}, {"control": [["canny"]]},
    ],
)  # fmt: skip
def test_what_names_no_picture_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((OrderError, IncomingError), match=next(iter(values))):
        read(**values)


def test_pictures_of_an_option_are_bounded_in_number() -> None:
    with pytest.raises(OrderError, match=str(MOST_EACH)):
        read(control=["canny:AAAA"] * (MOST_EACH + 1))


def test_a_picture_that_is_named_twice_goes_along_once() -> None:
    told = asked({"prompt": "a", "init": text_of(), "mask": text_of()}, 2, SETTINGS)
    assert len(told.attachments) == 1


def test_a_picture_that_is_larger_than_what_is_drawn_is_made_smaller() -> None:
    settings = Settings(most_pixels=64 * 64)
    [attachment] = asked({"prompt": "a", "init": text_of(size=(160, 90))}, 1, settings).attachments
    assert read_bytes("init", attachment.data).image.size == (85, 48)
    assert Incoming.of(Image.new("RGB", (64, 64))).within(64 * 64).image.size == (64, 64)


@given(
    st.dictionaries(
        st.sampled_from([*OPTIONS]), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_any_values_are_read_or_refused(values: dict[str, object]) -> None:
    try:
        asked(values, 1, SETTINGS)
    except (OrderError, IncomingError) as error:
        assert str(error)
