"""The page's fields: every option that may be asked for has one, and none loses what it is given."""

import pytest
from inkpunk.orders.options import OPTIONS
from inkpunk.orders.order import Order
from inkpunk_studio.page.draw import IN_SIGHT, OF_EDIT, in_accordions
from inkpunk_studio.page.fields import field, help_of, told
from inkpunk_studio.work.limits import ACCEPTED

VALUES = {
    "prompt": "a raven",
    "negative": "blurry",
    "seed": 2**63 - 1,
    "steps": 12,
    "guidance": 7.5,
    "guidance-interval": "0.28:5.42",
    "apg": True,
    "sampler": "DPM++ 2M Karras",
    "like": "a1111",
    "clip-skip": 2,
    "lora": ("neon.safetensors:0.8", "ink.safetensors"),
    "enlarge": "1.5",
    "format": "jpeg",
    "quality": 90,
}


def test_every_option_that_may_be_asked_for_is_within_reach() -> None:
    hidden = [name for names in in_accordions().values() for name in names]
    assert {*IN_SIGHT, *OF_EDIT, *hidden} >= ACCEPTED
    assert not {*hidden} & {*IN_SIGHT, *OF_EDIT}


@pytest.mark.parametrize("name", [name for name in sorted(ACCEPTED) if name not in OF_EDIT])
def test_a_field_that_shows_nothing_says_nothing(name: str) -> None:
    made = field(name)
    assert made.tell(made.show(None)) is None
    assert made.tell(made.component.value) is None  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", VALUES)
def test_what_a_field_shows_says_what_it_was_given(name: str) -> None:
    made, value = field(name), VALUES[name]
    assert OPTIONS[name](name, told([made], [made.show(value)])[name]) == value  # pyright: ignore


def test_values_go_through_the_fields_to_the_same_order() -> None:
    fields = [field(name) for name in VALUES]
    again = told(fields, [each.show(VALUES[each.name]) for each in fields])  # pyright: ignore
    assert Order.read(again) == Order.read(VALUES)


def test_a_model_that_is_not_listed_is_left_open() -> None:
    made = field("model", ["anything"])
    assert made.tell(made.show("/elsewhere/unknown.safetensors")) is None
    assert made.tell(made.show("/elsewhere/anything.safetensors")) == "anything"


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_help_does_not_talk_of_the_command_line(name: str) -> None:
    assert "--" not in "".join(help_of(name))
