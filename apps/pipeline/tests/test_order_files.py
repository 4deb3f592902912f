"""Files of orders: each line that can be meant is, exactly once, whatever stands beside it."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.orders.files import count_orders, read_orders
from inkpunk.orders.lines import MOST_CHARACTERS, READERS
from inkpunk.orders.naming import file_name
from inkpunk.orders.order import Order
from inkpunk.orders.tally import Tally
from inkpunk.orders.values import OrderError


def read(path: Path, text: str | bytes, **options: Any) -> list[dict[str, Any] | str]:
    """What each entry of a file of this content asks for, or what is wrong with it."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [
        each.error if each.order is None else {**each.order.values} for each in read_orders(path, **options)
    ]


def jsonl(*lines: Any) -> str:
    return "\n".join(map(json.dumps, lines))


def seeds(path: Path, text: str, **options: Any) -> list[int]:
    return [each["seed"] for each in read(path, text, **options) if isinstance(each, dict)]


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    told: list[dict[str, Any] | str] = [
        {"prompt": 'a "raven", at dusk', "steps": 4, "seed": 7},
        {"prompt": "an owl", "clip-skip": 2, "control": ("canny:a.png", "depth:b.png"), "seed": 8},
    ]
    lines = jsonl(
        {"prompt": 'a "raven", at dusk', "steps": 4, "seed": 7},
        {"prompt": "an owl", "clip_skip": 2, "control": ["canny:a.png", "depth:b.png"], "seed": 8},
    )
    rows = 'prompt,steps,clip_skip,control,seed\n"a ""raven"", at dusk",4,,,7\n'
    rows += 'an owl,,2,"[""canny:a.png"", ""depth:b.png""]",8\n'
    assert read(tmp_path / "orders.jsonl", lines) == told
    assert read(tmp_path / "orders.json", f"[{','.join(lines.splitlines())}]") == told
    assert read(tmp_path / "orders.json", lines) == told
    assert read(tmp_path / "orders.csv", rows) == told
    text = "# birds\n\n  a raven\r\nan owl  \n"
    prompts = read(tmp_path / "orders.txt", text, defaults={"seed": 7})
    assert prompts == [{"seed": 7, "prompt": "a raven"}, {"seed": 7, "prompt": "an owl"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, encoding: str, end: str, mark: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=mark, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["prompt", "seed", ""], ["ein Rabe, früh;\nspät", 7, ""], ["", "", ""], ["an owl", 8]])
    assert read(tmp_path / "orders.csv", file.getvalue().encode(encoding)) == [
        {"prompt": "ein Rabe, früh;\nspät", "seed": 7},
        {"prompt": "an owl", "seed": 8},
    ]


def test_lists_multiply_out_the_last_one_fastest(tmp_path: Path) -> None:
    told = read(tmp_path / "a.jsonl", jsonl({"prompt": ["raven", "owl"], "steps": [10, 20], "seed": 7}))
    assert [(each["prompt"], each["steps"]) for each in told if isinstance(each, dict)] == [
        ("raven", 10),
        ("raven", 20),
        ("owl", 10),
        ("owl", 20),
    ]


def test_a_list_is_one_value_of_what_takes_several(tmp_path: Path) -> None:
    line = jsonl({"prompt": "x", "lora": ["a.pt", "b.pt:0.5"], "region": [["y@m.png"], []], "seed": 1})
    told = read(tmp_path / "a.jsonl", line)
    assert [(each["lora"], each["region"]) for each in told if isinstance(each, dict)] == [
        (("a.pt", "b.pt:0.5"), ("y@m.png",)),
        (("a.pt", "b.pt:0.5"), ()),
    ]


def test_a_count_is_of_following_seeds(tmp_path: Path) -> None:
    assert seeds(tmp_path / "a.jsonl", jsonl({"prompt": "x", "seed": [7, 20], "count": 3})) == [
        *(7, 8, 9),
        *(20, 21, 22),
    ]
    assert seeds(tmp_path / "a.csv", "prompt,seed,count\nx,7,2\nx,9,") == [7, 8, 9]
    first, second = seeds(tmp_path / "a.txt", "x", defaults={"count": 2})
    assert second == first + 1


def test_seeds_follow_from_what_lines_say_and_how_often(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    before = seeds(file, "raven\nowl\nraven")
    assert len({*before}) == 3
    assert seeds(file, "raven\nowl\nraven") == before
    assert seeds(file, "fox\nraven\nlynx\nowl\nraven")[1::2] == before[:2]
    assert (
        seeds(file, "raven\nowl\nraven", defaults={"steps": 4}) == before
    )  # another setting, the same noise
    assert len({*seeds(tmp_path / "a.jsonl", jsonl({"prompt": ["raven", "owl"], "steps": [1, 2]}))}) == 1


def test_defaults_hold_where_a_line_does_not_say_otherwise(tmp_path: Path) -> None:
    lines = jsonl({"prompt": "x", "seed": 1}, {"prompt": "y", "seed": 1, "steps": 9, "clip_skip": None})
    assert read(tmp_path / "a.jsonl", lines, defaults={"steps": 4, "clip-skip": 2}) == [
        {"prompt": "x", "seed": 1, "steps": 4, "clip-skip": 2},
        {"prompt": "y", "seed": 1, "steps": 9, "clip-skip": 2},
    ]
    with pytest.raises(OrderError, match="steps 'many': must be a whole number"):
        read(tmp_path / "a.jsonl", lines, defaults={"steps": "many"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raven", "not JSON at character 1"),
        ("[1]", "not a mapping but"),
        ('{"prompt": "x", "prompt": "y"}', "prompt is given twice"),
        ('{"clip-skip": 1, "clip_skip": 2}', "clip-skip: is given twice"),
        ('{"prompt": "x", "steps": NaN}', "NaN is no number"),
        ('{"steps": 1}', "there is no prompt"),
        ('{"promt": "x"}', "did you mean prompt"),
        ('{"prompt": {}}', "prompt: must be text"),
        ('{"prompt": []}', "an empty list"),
        ('{"prompt": [["x"]]}', "a list in a list"),
        ('{"prompt": "x", "lora": [["a"], "b"]}', "lora: holds lists and others"),
        ('{"prompt": "x", "count": 0}', "must lie between 1 and"),
        ('{"prompt": "x", "count": [1]}', "count: must be a whole number"),
        (f'{{"prompt": {"[" * 100_000}', "not to be read"),
        (f'{{"prompt": {"1" * 10_000}}}', "not to be read"),
        (f'{{"prompt": "{"x" * MOST_CHARACTERS}"}}', "a line of more than"),
    ],
)
def test_a_bad_line_is_told_and_the_rest_is_read(tmp_path: Path, line: str, said: str) -> None:
    text = f'{{"prompt": "x", "seed": 1}}\n{line}\n{{"prompt": "y", "seed": 1}}'
    first, bad, last = read(tmp_path / "orders.jsonl", text)
    assert isinstance(bad, str)
    assert said in bad
    assert "\n" not in bad
    assert (first, last) == ({"prompt": "x", "seed": 1}, {"prompt": "y", "seed": 1})


@pytest.mark.parametrize("form", [*READERS])
def test_what_is_no_text_is_told(tmp_path: Path, form: str) -> None:
    good = {"jsonl": b'{"prompt": "x"}', "json": b'{"prompt": "x"}', "csv": b"x", "txt": b"x"}[form]
    head = b"prompt\n" if form == "csv" else b""
    told = read(tmp_path / "orders", head + good + b"\n\xff\xfe\xe9\n" + good, form=form)
    assert [each if isinstance(each, str) else each["prompt"] for each in told] == [
        "x",
        "not UTF-8 at character 1; save the file as UTF-8",
        "x",
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [("x,1,2", "3 cells under a header of 2"), ('"x"y,1', "not CSV"), ("x,many", "whole number")],
)
def test_a_bad_row_is_told_and_the_rest_is_read(tmp_path: Path, row: str, said: str) -> None:
    _, bad, last = read(tmp_path / "orders.csv", f"prompt,seed\nx,1\n{row}\ny,1\n")
    assert said in str(bad)
    assert last == {"prompt": "y", "seed": 1}


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text('\nprompt,seed\n\n"two\nlines",7\nx,y\n')
    assert [(each.line, each.error[:10]) for each in read_orders(path)] == [(4, ""), (6, "seed 'y': ")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.jsonl", None, "no such file"),
        ("orders.xlsx", "x", "say which it is with --as"),
        ("orders.csv", "", "first line has the names of options"),
        ("orders.csv", "prompt,seed,seed\n", "its header has 'seed' twice"),
        ("orders.json", "[{]", "begins as a list and is no JSON"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OrderError, match=said):
        next(read_orders(tmp_path / name))


MEANT = st.fixed_dictionaries(
    {"prompt": st.text()}, optional={"seed": st.integers(0, 9), "steps": st.just(3)}
)
JUNK = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs", "Cc"])), st.sampled_from(['{"prompt": 1', "{}", "[]"])
)


@settings(deadline=None)
@given(st.lists(st.one_of(MEANT, JUNK), max_size=6))
def test_every_line_that_can_be_meant_is_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any] | str]
) -> None:
    path = tmp_path_factory.mktemp("orders") / "orders.jsonl"
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
    entries = [*read_orders(path)]
    told = [
        (each.line, each.order and each.order.values["prompt"])
        for each in entries
        if isinstance(lines[each.line - 1], dict)
    ]
    assert told == [(place, each["prompt"]) for place, each in enumerate(lines, 1) if isinstance(each, dict)]
    assert sum(count_orders(path)) == len(entries)
    unseeded = [each.order.key for each in entries if each.order and "seed" not in lines[each.line - 1]]
    assert len({*unseeded}) == len(unseeded)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([*READERS]))
def test_no_bytes_can_stop_the_reading(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, form: str
) -> None:
    path = tmp_path_factory.mktemp("orders") / "orders"
    path.write_bytes(content)
    try:
        for each in read_orders(path, form=form):
            assert (each.order is None) == bool(each.error)
    except OrderError:
        assert form in ("csv", "json")  # no header; a list that ends nowhere


@pytest.mark.skipif(os.name == "nt", reason="has no named pipes of this kind")
def test_a_line_is_read_before_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)  # waits for nobody
    entries = read_orders(path)
    for seed in (7, 8):
        os.write(writer, f'{{"prompt": "x", "seed": {seed}}}\n'.encode())
        order = next(entries).order
        assert order
        assert order.seed == seed
    os.close(writer)
    assert [*entries] == []


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3) | st.sampled_from([1024, 2048, 4096])))
def test_a_tally_counts_as_a_dictionary_does(prints: list[int]) -> None:
    prints = [each or 1 for each in prints]  # of which one stands for both
    tally, counts = Tally(), dict[int, int]()
    for each in [*prints, *range(1, 900), *prints]:
        assert tally.add(each) == counts.get(each, 0)
        counts[each] = counts.get(each, 0) + 1
    assert len(tally) == len(counts)
    assert all(tally[each] == count for each, count in counts.items())
    assert tally[2**63 + 12345] == counts.get(2**63 + 12345, 0)


@settings(deadline=None)
@given(st.text(), st.integers(0, 2**63 - 1))
def test_a_name_is_one_that_every_file_system_takes(prompt: str, seed: int) -> None:
    order = Order.read({"prompt": prompt, "seed": seed})
    name = file_name(order)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(name) < 100
    assert name.startswith(order.key[:20])
    assert file_name(order.changed({"seed": (seed + 1) % 2**63})) != name
