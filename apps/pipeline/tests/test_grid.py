"""Grids: what their axes take and refuse, where the layout puts what, what is drawn, and what the file remembers."""

import csv
import json
import re
import shutil
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Enlarge, Facts, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.cli.axes import OPTIONS, read_axis
from inkpunk.cli.generate import generate
from inkpunk.cli.grid import grid
from inkpunk.orders.axes import MOST_CELLS, AxisError
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.grid import draw_layout, lay_out
from inkpunk.pictures.grid_facts import Axis, GridFacts
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import grid_infotext, read_grid_facts
from inkpunk.road.grid import GridStep, draw_grid
from PIL import Image

ANY_TEXT = st.text(st.characters())  # half surrogate pairs, too


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def draw(tiny: Path, *arguments: object) -> Result:
    return run("grid", "a raven", "--model", tiny, "--device", "cpu", *arguments)


def values(text: str) -> tuple[str, ...]:
    return read_axis(text, click.Context(grid)).axis.values


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def last(steps: list[GridStep]) -> Picture:
    picture = steps[-1].grid
    assert picture is not None
    return picture


# -- Axes ----------------------------------------------------------------------------------------------------------


def test_every_option_that_decides_a_picture_is_an_axis() -> None:
    of_the_request = {field.name for field in fields(Request)} | {
        "seed",
        "hints",
        "upscaler",
        *(f"enlarge_{field.name}" for field in fields(Enlarge)),
    }  # of which there are other fields
    decide = {option.name for option in generate.params if option.name in of_the_request} - {"prompt"}
    assert decide == {option.name for option in OPTIONS.values()}
    assert {"sampler", "spacing", "steps", "guidance", "seed", "negative", "strength"} <= set(OPTIONS)


@given(st.lists(ANY_TEXT, min_size=1, max_size=9))
def test_any_values_that_a_spreadsheet_writes_are_read_back(texts: list[str]) -> None:
    written = StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="").writerow(texts)
    assert values(f"negative={written.getvalue()}") == tuple(texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps=5,10,20", "5 10 20"),
        ("--steps=5, 10", "5 10"),
        ("steps=1-5", "1 2 3 4 5"),
        ("steps=3-1", "3 2 1"),
        ("steps=5-20(+5)", "5 10 15 20"),
        ("steps=5 - 20 (+10)", "5 15"),
        ("steps=20-5(-5)", "20 15 10 5"),
        ("steps=1-10[5]", "1 3 5 7 10"),
        ("steps=7-9[1]", "7"),
        ("steps=1-3,8,10-20[2]", "1 2 3 8 10 20"),
        ("seed=9223372036854775806-9223372036854775807", "9223372036854775806 9223372036854775807"),
        ("guidance=2-8[4]", "2 4 6 8"),
        ("guidance=1-2[4]", "1 1.3333 1.6667 2"),
        ("guidance=0-0.3(+0.1)", "0 0.1 0.2 0.3"),
        ("guidance=1-1.00003(+0.00001)", "1 1.00001 1.00002 1.00003"),
        ("guidance=0-2(1)", "0 1 2"),
        ("guidance=100", "100"),
    ],
)
def test_numbers_are_counted_out_as_automatic1111_does(text: str, expected: str) -> None:
    assert " ".join(values(text)) == expected


def test_only_numbers_have_ranges() -> None:
    assert values("negative=1-3") == ("1-3",)


@settings(max_examples=200)
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 1000))
def test_a_range_is_pythons_with_its_end(first: int, end: int, step: int) -> None:
    step = step if end >= first else -step
    expected = range(first, end + (1 if step > 0 else -1), step)
    assert values(f"steps={first}-{end}({step:+})") == tuple(map(str, expected))


@pytest.mark.parametrize(
    ("axis", "line"),
    [
        ("steps", "steps: no values"),
        ("steps=", "steps: no values"),
        ("=5", "'' is no axis; use prompt, seed"),
        ("colour=red", "'colour' is no axis; use prompt, seed"),
        ("count=1,2", "'count' is no axis"),
        ("steps=5,0", "steps=0: 0 is not in the range"),
        ("steps=5,ten", "steps=ten: 'ten' is not a valid integer"),
        ("steps=5,,6", "steps=: "),
        ("steps=5-20(-5)", "5-20(-5): a range of no numbers"),
        ("steps=5-20(+0)", "5-20(+0): a range of no numbers"),
        ("steps=5-20[0]", "a range of no numbers"),
        ("seed=0-99999999999", f"give 1 to {MOST_CELLS}"),
        ("seed=" + ",".join(["7"] * (MOST_CELLS + 1)), f"give at most {MOST_CELLS}"),
        ("like=a1111,mars", "like=mars: 'mars' is not one of"),
        ('sampler="euler', "the quotes do not match"),
        ("prompt=", "prompt: no values"),
        ("prompt=,fox", "prompt: no values"),
    ],
)
def test_an_axis_that_leads_nowhere_is_refused(axis: str, line: str) -> None:
    with pytest.raises(AxisError, match=re.escape(line)):
        values(axis)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "Missing option '--x'"),
        (["--x", "steps"], "'--x': steps: no values"),
        (["--x", "sampler=euler,dpmm"], "sampler=dpmm: sampler 'dpmm': there is none"),
        (
            ["--x", "sampler=euler,heun", "--y", "width=64,100"],
            "sampler=euler, width=100: width 100: must be",
        ),
        (["--x", "guidance=5,101"], "guidance=101: guidance 101: must lie between"),
        (["--x", "sampler=euler,DPM++ 2M Karras", "--spacing", "leading"], "DPM++ 2M Karras"),
        (["--x", "steps=1,2", "--y", "steps=3"], "steps: is on both axes"),
        (["--x", "strength=0.5,1"], "strength decides nothing without --init"),
        (["--x", "prompt=fox,owl"], "prompt: 'fox', its first value, is not in the prompt"),
        (["--x", "seed=1-100", "--y", "steps=1-100"], "100 x 100 cells"),
        (["--x", "steps=1", "--out", "no/such/folder/a.png"], "does not exist"),
    ],
)
def test_what_cannot_be_drawn_gets_one_line_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Pipeline, "load", lambda *_, **__: pytest.fail("was loaded"))
    result = run("grid", "a raven", *arguments)
    assert result.exit_code in (1, 2), result.output
    assert line in " ".join(result.output.split())
    assert not [*tmp_path.iterdir()]


# -- The layout ----------------------------------------------------------------------------------------------------

SIDES = st.integers(1, 96)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[Image.Image]], list[str], list[str], str]:
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def image() -> Image.Image:
        return Image.fromarray(random.integers(0, 256, (draw(SIDES), draw(SIDES), 3), dtype=np.uint8))

    label = st.one_of(ANY_TEXT, ANY_TEXT.map(lambda text: text * 500), st.just("a word " * 99))
    texts = [draw(st.lists(label, min_size=count, max_size=count)) for count in (columns, rows)]
    return [[image() for _ in range(columns)] for _ in range(rows)], *texts, draw(label)


@settings(deadline=None, max_examples=60)
@given(tables())
def test_each_picture_stands_unchanged_where_the_layout_says(
    table: tuple[list[list[Image.Image]], list[str], list[str], str],
) -> None:
    images, columns, rows, title = table
    layout = lay_out([[image.size for image in row] for row in images], columns, rows, title)
    paper = draw_layout(images, layout)
    assert paper.size == layout.size
    covered = np.zeros(paper.size, dtype=int)
    for row, boxes in zip(images, layout.cells, strict=True):
        for image, box in zip(row, boxes, strict=True):
            assert paper.crop(box).tobytes() == image.tobytes()
            covered[box[0] : box[2], box[1] : box[3]] += 1
    assert covered.max() == 1  # no two overlap
    assert covered[0].max() == covered[-1].max() == covered[:, 0].max() == covered[:, -1].max() == 0


@settings(deadline=None, max_examples=60)
@given(tables())
def test_text_stays_on_the_paper_and_off_the_pictures(
    table: tuple[list[list[Image.Image]], list[str], list[str], str],
) -> None:
    images, columns, rows, title = table
    layout = lay_out([[image.size for image in row] for row in images], columns, rows, title)
    marked = replace(layout, lines=tuple(replace(line, ink="red") for line in layout.lines))
    paper = np.asarray(
        draw_layout([[Image.new("RGB", i.size, "white") for i in row] for row in images], marked)
    )
    beneath = np.asarray(draw_layout([[] for _ in images], replace(marked, cells=((),) * len(images))))
    assert (paper == beneath).all()  # no picture hides a mark
    edge = np.concatenate([beneath[0], beneath[-1], beneath[:, 0], beneath[:, -1]])
    assert (edge == 255).all()


def test_a_long_label_ends_in_an_ellipsis() -> None:
    layout = lay_out([[(64, 64)]], ["word " * 50])
    assert layout.lines[-1].text.endswith("…")
    assert len(layout.lines) == 3


def test_labels_say_of_what_a_number_is_and_keep_what_type_can_show() -> None:
    assert Axis("steps", ("5", " 10")).labels == ("steps 5", "steps 10")
    assert Axis("negative", ("", "blurry")).labels == ("no negative", "blurry")
    [line] = lay_out([[(64, 64)]], ["Éclair\n\tnoir"]).lines
    assert line.text == "Eclair noir"


def test_pictures_stand_in_the_middle_of_the_largest() -> None:
    layout = lay_out([[(128, 128)], [(64, 64)]], ["a"], ["b", "c"])
    (large,), (small,) = layout.cells
    assert large[0] + large[2] == small[0] + small[2]


# -- Drawing -------------------------------------------------------------------------------------------------------


def test_a_grid_of_the_model_in_the_box_holds_what_generate_draws(tmp_path: Path) -> None:
    common = ["--seed", 7, "--width", 64, "--height", 64, "--guidance", 1]
    samplers, steps = ["Euler a", "DPM++ 2M Karras"], ["2", "3"]
    axes = ["--x", "sampler=" + ",".join(samplers), "--y", "steps=2-3"]
    out = tmp_path / "grid.png"
    result = run("grid", "nvinkpunk raven", *axes, *common, "--out", out, "--save-cells", tmp_path / "cells")
    assert result.exit_code == 0, result.output
    layout = lay_out([[(64, 64)] * 2] * 2, samplers, ["steps 2", "steps 3"], "nvinkpunk raven")
    cells = sorted((tmp_path / "cells").iterdir())
    assert result.stdout.split("\n")[:5] == [*map(str, cells), str(out)]
    with Image.open(out) as picture:
        assert picture.size == layout.size
        for row, count in enumerate(steps):
            for column, sampler in enumerate(samplers):
                alone = tmp_path / f"{row}{column}.png"
                options = ["--sampler", sampler, "--steps", count]
                assert run("generate", "nvinkpunk raven", *options, *common, "--out", alone).exit_code == 0
                assert picture.crop(layout.cells[row][column]).tobytes() == pixels(alone)
                cell = cells.pop(0)
                assert pixels(cell) == pixels(alone)
                assert read_facts(cell) == read_facts(alone)


def test_a_sampler_by_any_programs_name_is_the_same_cell(pipeline: Pipeline) -> None:
    names = ("euler_ancestral", "Euler a", "EulerAncestralDiscreteScheduler")
    requests = [[Request("a raven", seeds=(7,), steps=2, sampler=name) for name in names]]
    steps = [*draw_grid(pipeline, requests, Axis("sampler", names))]
    assert [(step.index, step.total) for step in steps] == [(1, 2), (2, 2)]
    assert sum(step.picture is not None for step in steps) == 1


def test_what_a_request_leaves_to_the_model_is_drawn_once_with_what_it_names(pipeline: Pipeline) -> None:
    left_open = Request("a raven", seeds=(7,))
    named = Request("a raven", seeds=(7,), steps=3, guidance=4.0, width=64, height=64)
    other = replace(named, seeds=(8,))
    steps = [*draw_grid(pipeline, [[left_open, named, other, left_open]], Axis("x", ("1", "2", "3", "4")))]
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6]
    [cells] = last(steps).grid.cells
    assert [cell.seed for cell in cells] == [7, 7, 8, 7]


def test_all_cells_have_one_seed_unless_the_axis_is_the_seed(tiny: Path, tmp_path: Path) -> None:
    draw(tiny, "--x", "steps=1,2", "--out", tmp_path / "steps.png")
    draw(tiny, "--x", "seed=3,4", "--steps", 1, "--out", tmp_path / "seeds.png")
    [first, second] = read_grid_facts(tmp_path / "steps.png").cells[0]
    assert first.seed == second.seed
    assert [cell.seed for cell in read_grid_facts(tmp_path / "seeds.png").cells[0]] == [3, 4]


def test_words_are_replaced_in_both_prompts_after_the_other_axis(tiny: Path, tmp_path: Path) -> None:
    axes = ["--x", 'prompt=raven,"fox, red"', "--y", "negative=,old raven"]
    assert draw(tiny, *axes, "--steps", 1, "--out", tmp_path / "a.png").exit_code == 0
    told = [
        [(cell.prompt, cell.negative_prompt) for cell in row]
        for row in read_grid_facts(tmp_path / "a.png").cells
    ]
    assert told == [
        [("a raven", ""), ("a fox, red", "")],
        [("a raven", "old raven"), ("a fox, red", "old fox, red")],
    ]


def test_sizes_may_differ(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert draw(tiny, "--x", "width=64,96", "--y", "height=64,32", "--steps", 1, "--out", out).exit_code == 0
    sizes = [[(cell.width, cell.height) for cell in row] for row in read_grid_facts(out).cells]
    assert sizes == [[(64, 64), (96, 64)], [(64, 32), (96, 32)]]


def test_strength_and_the_picture_to_start_from_are_axes(tiny: Path, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (90, 80), colour).save(tmp_path / f"{colour}.png")
    inits = f"init={tmp_path / 'red.png'},{tmp_path / 'blue.png'}"
    folder, out = tmp_path / "cells", tmp_path / "a.png"
    axes = ["--x", inits, "--y", "strength=0.5,1"]
    result = draw(tiny, *axes, "--steps", 2, "--seed", 7, "--out", out, "--save-cells", folder)
    assert result.exit_code == 0, result.output
    cells = sorted(folder.iterdir())
    assert [read_facts(cell).strength for cell in cells] == [0.5, 0.5, 1, 1]
    assert pixels(cells[0]) != pixels(cells[1])


def test_a_strength_of_less_than_a_step_is_refused_by_its_name(tiny: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "start.png")
    arguments = ["--init", tmp_path / "start.png", "--steps", 4, "--x", "strength=0.5,0.1"]
    result = draw(tiny, *arguments, "--out", tmp_path / "a.png")
    assert result.exit_code == 1
    assert "strength=0.1: strength 0.1 of 4 steps is less than one step" in result.output
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("requests", "line"),
    [
        ([[Request("a")] * 2], "give a request for each"),
        ([[Request("a")], [Request("b")]], "give a request for each"),
        ([[Request("a", seeds=(1, 2))]], "one seed in each"),
        ([[Request("a", width=20000, height=20000)]], "free|few programs open more"),
    ],
)
def test_a_table_that_is_no_grid_is_refused_at_once(
    pipeline: Pipeline, requests: list[list[Request]], line: str
) -> None:
    with pytest.raises(RequestError, match=line):
        draw_grid(pipeline, requests, Axis("steps", ("5",)))


def test_a_grid_larger_than_programs_open_is_refused_before_it_is_drawn(pipeline: Pipeline) -> None:
    requests = [[Request("a raven", seeds=(seed,), width=512, height=512) for seed in range(30)]] * 30
    axes = Axis("seed", tuple(map(str, range(30)))), Axis("steps", tuple(map(str, range(30))))
    with pytest.raises(RequestError, match="draw fewer or smaller"):
        draw_grid(pipeline, requests, *axes)


def test_ctrl_c_keeps_the_cells_that_are_done_and_no_half_of_a_grid(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, saved = Picture.save_into, list[int]()

    def save_into(self: Picture, folder: Path, **saving: Any) -> Path:
        saved.append(self.facts.seed)
        if len(saved) == 3:
            raise KeyboardInterrupt
        return whole(self, folder, **saving)

    monkeypatch.setattr(Picture, "save_into", save_into)
    folder = tmp_path / "cells"
    result = draw(tiny, "--x", "seed=1-5", "--steps", 1, "--out", tmp_path / "a.png", "--save-cells", folder)
    assert result.exit_code == 130
    cells = sorted(folder.iterdir())
    assert [read_facts(cell).seed for cell in cells] == [1, 2]
    assert all(str(cell) in result.output for cell in cells)
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_a_grid_whose_model_goes_while_it_draws_is_saved_and_said_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(tiny, model)
    decode = Pipeline.decode

    def gone(*arguments: Any) -> Any:
        model.unlink(missing_ok=True)
        return decode(*arguments)

    whole = draw(model, "--x", "steps=1,2", "--out", tmp_path / "whole.png")
    assert "no model hash" not in whole.stderr
    monkeypatch.setattr(Pipeline, "decode", gone)
    result = draw(model, "--x", "steps=1,2", "--out", tmp_path / "grid.png")
    assert result.exit_code == 0, result.output
    assert read_facts(tmp_path / "grid.png").model_hash == ""
    assert result.stderr.count("no model hash: model cannot be read any more") == 1


def test_grids_are_numbered_among_the_pictures_of_a_folder(tiny: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert draw(tiny, "--x", "steps=1", "--seed", 7, "--out", tmp_path).exit_code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["0001-grid-a-raven-seed7.png", "0002-grid-a-raven-seed7.png"]


# -- The recipe ----------------------------------------------------------------------------------------------------


def test_the_file_tells_what_it_takes_to_draw_it_again(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    axes = ["--x", 'sampler=euler,"DPM++ 2M Karras"', "--y", "guidance=2-3"]
    assert draw(tiny, *axes, "--steps", 1, "--out", out).exit_code == 0
    told = read_grid_facts(out)
    assert told.x == Axis("sampler", ("euler", "DPM++ 2M Karras"))
    assert told.y == Axis("guidance", ("2", "3"))
    cells = [[(cell.sampler, cell.spacing, cell.guidance) for cell in row] for row in told.cells]
    pairs = [("euler", "ays"), ("dpmpp_2m", "karras")]
    assert cells == [[(*pair, guidance) for pair in pairs] for guidance in (2, 3)]
    assert read_facts(out) == told.cells[0][0]  # a reader of single pictures
    with Image.open(out) as image:
        text = image.info["parameters"]
    assert "Steps: 1, Sampler: Euler," in text
    assert text.endswith(
        'Script: X/Y/Z plot, X Type: Sampler, X Values: "euler, DPM++ 2M Karras", Y Type: CFG Scale, Y Values: "2, 3"'
    )


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_automatic1111s_text_holds_any_values(texts: list[str]) -> None:
    told = grid_infotext(grid_of(Axis("negative", tuple(texts))))
    written = told.partition("X Values: ")[2]
    expected = [text.replace("\0", " ").encode(errors="replace").decode() for text in texts]
    read = json.loads(written) if written.startswith('"') else written
    assert values(f"negative={read}") == tuple(expected)


FACTS = Facts(
    prompt="a raven",
    negative_prompt="",
    steps=1,
    sampler="ddpm",
    spacing="linspace",
    guidance=4.0,
    seed=7,
    width=64,
    height=64,
    model="tiny",
    model_hash="",
    version="0",
)


def grid_of(x: Axis, y: Axis | None = None) -> GridFacts:
    rows = y.values if y else [""]
    return GridFacts(
        x, y, tuple(tuple(replace(FACTS, prompt=value, note=other) for value in x.values) for other in rows)
    )


AXES = st.tuples(ANY_TEXT, st.lists(ANY_TEXT, min_size=1, max_size=4).map(tuple))


@given(AXES, st.one_of(st.none(), AXES))
def test_any_grids_facts_are_read_back(
    x: tuple[str, tuple[str, ...]], y: tuple[str, tuple[str, ...]] | None
) -> None:
    told = grid_of(Axis(*x), Axis(*y) if y else None)
    assert GridFacts.from_json(told.to_json()) == told
    assert Facts.from_json(told.to_json()) == told.base


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.pop("grid"),
        lambda told: told.pop("seed"),
        lambda told: told.update(grid=[1]),
        lambda told: told["grid"].pop("x"),
        lambda told: told["grid"].update(x=None),
        lambda told: told["grid"].update(x={"name": "steps", "values": "12"}),
        lambda told: told["grid"].update(x={"name": "steps", "values": [1, 2]}),
        lambda told: told["grid"].update(x={"name": "steps", "values": []}),
        lambda told: told["grid"].update(cells=[[{}]]),
        lambda told: told["grid"].update(cells=[[{}, {}], [{}, {}]]),
        lambda told: told["grid"].update(cells=["ab"]),
        lambda told: told["grid"].update(cells=[[{}, {"seed": "seven"}]]),
        lambda told: told["grid"].update(cells=7),
    ],
)
def test_damaged_facts_are_refused(damage: object) -> None:
    told = json.loads(grid_of(Axis("steps", ("1", "2"))).to_json())
    damage(told)
    with pytest.raises(PictureError):
        GridFacts.from_json(json.dumps(told))


def test_a_single_picture_is_no_grid(tmp_path: Path) -> None:
    Picture(Image.new("RGB", (8, 8)), FACTS).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="not of a grid"):
        read_grid_facts(tmp_path / "a.png")
