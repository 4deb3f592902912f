"""Orders: pictures asked for in plain values."""

import json
from contextlib import suppress
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk import Order, Request, RequestError
from inkpunk.cli.edit import edit
from inkpunk.cli.generate import generate
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.options import ARGUMENTS, OPTIONS, argument
from inkpunk.orders.values import OrderError
from PIL import Image

#: Options of how many pictures there are, and where they go.
NOT_OF_A_PICTURE = {"count", "batch", "out", "overwrite", "save-hint", "preview"}


def test_every_option_that_decides_a_picture_can_be_ordered() -> None:
    told = {
        max(option.opts, key=len).lstrip("-"): option
        for command in (generate, edit)
        for option in command.params
        if isinstance(option, click.Option)
    }
    assert {*told} - NOT_OF_A_PICTURE == {*OPTIONS} - {"prompt"}
    for name, option in told.items():
        if name in OPTIONS and name != "format":
            assert option.name == argument(name)
            many = OPTIONS[name].__name__ == "texts"
            assert option.multiple == many
            assert option.is_flag == (OPTIONS[name].__name__ == "flag")
    assert {*ARGUMENTS} <= {*OPTIONS}


def test_an_order_is_a_request_and_a_choice_of_a_model(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / "start.png")
    order = Order.read(
        {
            "prompt": "a raven", "negative": "blur", "seed": "7", "steps": 3, "guidance_interval": "0.3:5",
            "init": str(tmp_path / "start.png"), "enlarge": 2, "enlarge-steps": "4", "apg": "yes", "eta": None,
            "control": f"canny:{tmp_path / 'start.png'}:0.5", "lora": ["a.safetensors:0.5", "b.safetensors"],
            "without": ["memo"], "zero-snr": "no", "format": "webp", "quality": "90",
        }
    )  # fmt: skip
    request = order.request()
    assert (request.prompt, request.negative_prompt, request.seeds, request.steps) == (
        "a raven",
        "blur",
        (7,),
        3,
    )
    assert request.guidance_interval == (0.3, 5.0) and request.apg
    assert request.enlarging is not None and (request.enlarging.to, request.enlarging.steps) == (2.0, 4)
    assert [each.weight for each in request.followed] == [0.5]
    assert order.choice == ModelChoice(
        loras=("a.safetensors:0.5", "b.safetensors"), without=("memo",), zero_snr=False
    )
    assert (order.form, order.quality, order.seed) == ("webp", 90, 7)
    assert json.loads(json.dumps(order.values)) == {
        name: [*value] if isinstance(value, tuple) else value for name, value in order.values.items()
    }
    assert Order.read(json.loads(json.dumps(order.values))) == order


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "x", "step": 3}, "'step': there is no such option; did you mean steps?"),
        ({"steps": 3}, "there is no prompt"),
        ({"prompt": "x", "steps": "many"}, "steps 'many': must be a whole number"),
        ({"prompt": "x", "steps": 3.5}, "steps: must be a whole number, not float 3.5"),
        ({"prompt": "x", "guidance": float("nan")}, "guidance nan: must be a finite number"),
        ({"prompt": "x", "apg": "perhaps"}, "apg: must be True or False"),
        ({"prompt": "x", "lora": 3}, "lora: must be text"),
        ({"prompt": "x", "guidance-interval": "5"}, "guidance-interval '5': is not LOW:HIGH"),
        ({"prompt": "x", "clip-skip": 1, "clip_skip": 2}, "clip-skip: is given twice"),
        ({"prompt": "x", "format": "bmp"}, "format 'bmp': pictures are saved as"),
        ({"prompt": "x", "control-net": "canny"}, "'canny' is not KIND=FILE"),
    ],
)
def test_what_cannot_be_ordered_is_said_in_one_line(values: dict[str, object], said: str) -> None:
    with pytest.raises(OrderError) as refused:
        Order.read(values)
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_what_only_a_request_can_judge_is_refused_there() -> None:
    with pytest.raises(RequestError, match="--enlarge-steps: changes nothing without --enlarge"):
        Order.read({"prompt": "x", "enlarge-steps": 3}).request()
    with pytest.raises(RequestError, match="control 'canny'"):
        Order.read({"prompt": "x", "control": "canny"}).request()


def test_a_key_is_of_the_picture_and_of_the_files_it_names(tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (64, 64), "navy").save(start)
    order = Order.read({"prompt": "a raven", "seed": 7, "init": str(start)})
    assert len(order.key) == 64
    usual = {"negative": "", "strength": 0.75, "model": "sketch", "format": "png", "lora": [], "apg": False}
    elsewhere = {"device": "cpu", "offload": True}
    assert order.changed(usual | elsewhere).key == order.key
    keys = {order.key} | {
        order.changed(change).key
        for change in (
            {"seed": 8}, {"prompt": "A raven"}, {"steps": 20}, {"model": "other"}, {"format": "webp"},
            {"zero-snr": False}, {"tiled": True}, {"lora": "a:0.5"},
        )
    }  # fmt: skip
    assert len(keys) == 9
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "start.png")
    assert Order(order.values).key not in keys
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "bird.txt").write_text("raven\nowl\n")
    chosen = order.changed({"wildcards": str(lists)})
    before = chosen.key
    (lists / "bird.txt").write_text("raven\nfox\n")
    (lists / "fish.txt").write_text("pike\n")
    assert Order(chosen.values).key != before
    with pytest.raises(OrderError, match="/: a folder of more than 2,000 files"):
        _ = order.changed({"model": "/"}).key
    with pytest.raises(OrderError, match="there is no seed"):
        _ = Order.read({"prompt": "a raven"}).key


@given(st.integers(0, 2**62), st.integers(-1000, 1000), st.floats(0, 20), st.floats(-5, 5))
def test_changes_count_on(seed: int, by: int, guidance: float, more: float) -> None:
    order = Order.read({"prompt": "x", "seed": seed, "guidance": guidance})
    changed = order.changed({"seed": f"{by:+d}", "guidance": f"{more:+.3f}", "steps": "9"})
    assert changed.values == {
        "prompt": "x", "seed": seed + by, "guidance": guidance + float(f"{more:.3f}"), "steps": 9,
    }  # fmt: skip
    with pytest.raises(OrderError, match=r"steps=\+1: counts on from what is not said"):
        order.changed({"steps": "+1"})


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*OPTIONS]), values | st.dictionaries(st.text(), values, max_size=1)))
def test_whatever_a_file_says_is_read_or_refused(values: dict[str, object]) -> None:
    try:
        order = Order.read({"prompt": "x"} | values)
    except OrderError as refused:
        assert "\n" not in str(refused) or any("\n" in str(value) for value in values.values())
    else:
        assert isinstance(order.seed, int | None) and Order.read(order.values) == order
        with suppress(RequestError):
            assert isinstance(order.request(), Request)
