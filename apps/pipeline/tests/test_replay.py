"""A picture is made again from what it carries, and what differs is told."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk import Enlarge, Facts, Picture, Pipeline, Request, read_facts
from inkpunk.cli import main
from inkpunk.cli.changes import read_changes
from inkpunk.models.hashing import model_hash
from inkpunk.orders.replay import as_many_threads, recall, replay, replayed
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.numbers import exact
from inkpunk_sampling import SAMPLERS
from inkpunk_weights import LowRank, save_lora
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

SMALL = {"width": 32, "height": 32, "steps": 2}


def run(*words: object) -> Result:
    result = CliRunner().invoke(main, [*map(str, words)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


LOADED: dict[str, Pipeline] = {}
load = Pipeline.load


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes more than drawing here."""

    def loaded(*asked: object, **settings: object) -> Pipeline:
        key = repr((asked, sorted(settings.items())))
        if key not in LOADED:
            LOADED[key] = load(*asked, **settings)  # pyright: ignore[reportArgumentType]
        return LOADED[key]

    monkeypatch.setattr(Pipeline, "load", loaded)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.png"
    Image.effect_noise((40, 56), 60).convert("RGB").save(path)
    return path


def saved(pipeline: Pipeline, folder: Path, request: Request, name: str = "drawn.png") -> Path:
    """The last picture of a request, saved."""
    return pipeline.generate(request)[-1].save(folder / name, overwrite=True)


@pytest.mark.thorough
@pytest.mark.parametrize("sampler", [*SAMPLERS])
def test_a_request_from_a_picture_draws_it_again_by_every_sampler(
    pipeline: Pipeline, tmp_path: Path, sampler: str
) -> None:
    path = saved(pipeline, tmp_path, Request("a {raven|fox}", seeds=(3,), sampler=sampler, **SMALL))
    [again] = pipeline.generate(Request.from_picture(path))
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), np.asarray(again.image))
    assert again.facts == read_facts(path)


EDITS = {
    "mask": ["--mask", "{mask}"],
    "only masked": ["--mask", "{mask}", "--only-masked", "4", "--masked-content", "noise"],
    "only masked, in a size": ["--mask", "{mask}", "--only-masked", "4", "--width", "48"],
    "another size": ["--mask", "{mask}", "--width", "48", "--height", "56", "--strength", "1"],
    "extended": ["--extend", "left=16,bottom=8"],
    "both": ["--extend", "right=8", "--mask", "{mask}", "--masked-content", "blurred"],
}


@pytest.mark.parametrize("options", [*EDITS.values()], ids=[*EDITS])
def test_an_edit_is_replayed(tiny: Path, start: Path, tmp_path: Path, options: list[str]) -> None:
    mask = tmp_path / "mask.png"
    whole = Image.new("L", (40, 56), 0)
    whole.paste(255, (12, 9, 30, 41))
    whole.save(mask)
    out = tmp_path / "out.png"
    told = [each.format(mask=mask) for each in options]
    result = run("edit", start, "a raven", "--model", tiny, "--seed", 3, "--steps", 2, "--out", out, *told)
    assert result.exit_code == 0, result.output
    assert replay(out).same


def test_a_picture_of_a_batch_is_replayed_with_those_beside_it(tiny: Path, tmp_path: Path) -> None:
    prompt, batch = "a {raven|fox AND an {owl|cat}|[x:y:0.5]}", ["--count", 3, "--batch", 3, "--seed", 5]
    result = run("generate", prompt, "--model", tiny, *batch, "--steps", 2, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    for path in sorted(tmp_path.glob("*.png")):
        assert read_facts(path).together == "5 6 7"
        assert recall(path).request.seeds == (5, 6, 7)
        assert replay(path).same
    varied = recall(path, {"seed": "+1"})
    assert varied.request.seeds == (8,)


def test_adapters_of_a_prompt_are_found_by_their_hash_and_called_by_their_names(
    tiny: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    folder = tmp_path / "adapters"
    (folder / "birds").mkdir(parents=True)
    for name in ("bent", "birds/owl"):
        change = LowRank(torch.randn(2, 32, 3, 3), torch.randn(32, 2, 1, 1), alpha=2.0)
        save_lora(folder / f"{name}.safetensors", unet={"down.0.resnets.0.conv1": change})
    out = tmp_path / "out.png"
    result = run("generate", "a raven <lora:birds/owl:0.7><lora:bent:0.1234567>", "--model", tiny, "--lora-folder",
                 folder, "--lora", f"{folder / 'bent.safetensors'}:0.3333333:0.25", "--seed", 3, "--steps", 2,
                 "--out", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_facts(out).loras == {"bent": "0.3333333:0.25"}
    assert replay(out).same
    assert Path(str(replayed(out).values["lora-folder"])) == folder


def test_an_enlarged_picture_keeps_what_was_left_open(tiny: Path, start: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    first = Request(
        "a raven", seeds=(3,), sampler="ddim", steps=2, enlarge=Enlarge("80x96", sampler="euler_a")
    )
    path = saved(pipeline, tmp_path, first)
    again = Request.from_picture(path)
    assert (again.width, again.height, again.spacing, again.eta) == (None, None, None, None)
    assert replay(path).same
    there = Request("a raven", seeds=(3,), init=start, enlarge=1.2345678, steps=4, eta=0.5, sampler="ddim")
    assert replay(saved(pipeline, tmp_path, there)).same


def test_the_command_says_the_same_and_exits_with_nothing(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run("generate", "a raven", "--model", tiny, "--seed", 3, "--steps", 2, "--out", out).exit_code == 0
    again = tmp_path / "again.png"
    result = run("replay", out, "--out", again)
    assert (result.exit_code, result.stdout) == (0, f"{again}\n{out}: the same to the last bit\n")
    assert read_facts(again) == read_facts(out)


@pytest.fixture(scope="module")
def drawn(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Picture:
    return Pipeline.load(tiny, device="cpu").generate(Request("a raven", seeds=(3,), steps=2))[0]


def test_a_picture_of_another_version_and_machine_says_what_differs(
    drawn: Picture, tiny: Path, tmp_path: Path
) -> None:
    facts = replace(drawn.facts, version="0.3.0", machine="torch 1.9", dtype="bfloat16", speed="without memo")
    image = ImageChops.invert(drawn.image)
    out = replace(drawn, facts=facts, image=image).save(tmp_path / "out.png")
    result = run("replay", out, "--models", tiny.parent)
    assert result.exit_code == 1
    assert "not the same: " in result.stdout and " of 255 levels" in result.stdout
    assert "  version: 0.3.0 then, " in result.stderr and "  machine: torch 1.9 then, " in result.stderr
    assert "dtype" not in result.stderr and "speed" not in result.stderr  # which were taken as they were
    assert "\n  " in result.stderr


def test_another_model_of_the_name_is_taken_and_told(
    drawn: Picture, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = replace(drawn, facts=replace(drawn.facts, model_hash="0123456789")).save(tmp_path / "out.png")
    result = run("replay", out)
    assert result.exit_code == 2
    assert "model: tiny [0123456789] is not where files were hashed before" in result.stderr
    monkeypatch.chdir(tiny.parent)
    result = run("replay", out)
    assert result.exit_code == 0  # the pixels are the same, as only the recipe was changed
    assert f"  model hash: 0123456789 then, {drawn.facts.model_hash} now" in result.stderr


def test_a_start_that_changed_is_told_before_it_is_drawn(tiny: Path, tmp_path: Path) -> None:
    pipeline, start = Pipeline.load(tiny, device="cpu"), tmp_path / "start.png"
    Image.new("RGB", (64, 64), "navy").save(start)
    out = saved(pipeline, tmp_path, Request("a raven", seeds=(3,), steps=2, init=start))
    moved = start.rename(tmp_path / "moved.png")
    result = run("replay", out)
    assert result.exit_code == 2 and "start.png: no such file" in result.stderr
    assert run("replay", out, "--with", f"init={moved}").stdout.endswith("the same to the last bit\n")
    Image.new("RGB", (64, 64), "teal").save(start)
    result = run("replay", out)
    assert result.exit_code == 1 and result.stderr.startswith("  init hash: ")


def test_a_picture_given_as_pixels_is_asked_for(tiny: Path, start: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    with Image.open(start) as image:
        out = saved(pipeline, tmp_path, Request("a raven", seeds=(3,), steps=2, init=image.copy()))
    with pytest.raises(PictureError, match=r"init: was given as pixels, .* --with init=FILE"):
        replay(out)
    assert run("replay", out, "--with", f"init={start}").exit_code == 0


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif"])
def test_what_loses_pixels_is_compared_as_it_was_saved(
    drawn: Picture, tiny: Path, tmp_path: Path, form: str
) -> None:
    for quality in (None, 55, 100):
        out = drawn.save(tmp_path / f"{quality}.{'jpg' if form == 'jpeg' else form}", quality=quality)
        again = replay(out, models=[tiny.parent])
        lossless = form == "webp" and quality == 100
        assert again.same and again.lossy == ("" if lossless else f"{form} {quality or 80}")
        assert read_facts(out) == drawn.facts  # as what it is saved is no fact of the drawing


def test_a_file_of_an_unknown_quality_says_that_it_is_a_guess(
    drawn: Picture, tiny: Path, tmp_path: Path
) -> None:
    facts = {name: value for name, value in json.loads(drawn.facts.to_json()).items() if name != "saved"}
    out = drawn.save(tmp_path / "out.jpg", quality=30)
    out.write_bytes(out.read_bytes().replace(b'"saved": "jpeg 30"', b'"unread": "jpeg 30' + b'"'))
    again = replay(out, models=[tiny.parent])
    assert facts and again.guessed and "its quality is a guess" in str(again)


def test_pictures_of_earlier_versions_are_replayed_as_far_as_they_go(
    drawn: Picture, tiny: Path, tmp_path: Path
) -> None:
    new = {"asked", "weights", "together", "beside", "threads", "machine", "saved"}
    told = {name: value for name, value in json.loads(drawn.facts.to_json()).items() if name not in new}
    facts = Facts.from_json(json.dumps(told))
    out = replace(drawn, facts=facts).save(tmp_path / "old.png")
    again = replay(out, models=[tiny.parent])
    assert again.same and not again.facts


CHANGES = {
    "steps": st.integers(1, 50), "seed": st.integers(0, 2**40), "guidance": st.floats(1.5, 20),
    "prompt": st.text(st.characters(codec="ascii", exclude_characters="<>{}\\_"), min_size=1),
    "width": st.sampled_from([64, 72]),
    "sampler": st.sampled_from(["euler", "dpmpp_2m"]), "apg": st.booleans(), "tileable": st.sampled_from(["x", "xy"]),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=CHANGES))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_told_anew_changes_and_nothing_else(
    drawn: Picture, pipeline: Pipeline, tiny: Path, tmp_path: Path, changes: Mapping[str, object]
) -> None:
    out = drawn.save(tmp_path / "out.png", overwrite=True)
    told = recall(out, changes, [tiny.parent])
    facts = pipeline.facts(pipeline.plan(told.request), told.order.seed or 0)
    same = {name: value for name, value in changes.items() if getattr(drawn.facts, name) == value}
    fields = {name: value for name, value in changes.items() if name not in same}
    assert facts == replace(drawn.facts, **fields)
    assert told.is_same(facts) == (not fields)
    assert {line.partition(":")[0] for line in told.differs(facts)} == {*fields}


def test_a_variation_is_drawn_saved_and_not_compared(drawn: Picture, tiny: Path, tmp_path: Path) -> None:
    out = drawn.save(tmp_path / "out.png")
    again = tmp_path / "again.webp"
    told = ["--with", 'steps=3,seed=+1,prompt="a raven, at dusk"']
    result = run("replay", out, *told, "--models", tiny.parent, "--out", again)
    assert (result.exit_code, result.stdout) == (0, f"{again}\n")
    facts = read_facts(again)
    assert (facts.steps, facts.seed, facts.prompt) == (3, 4, "a raven, at dusk")


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        (["steps=40,seed=+1"], {"steps": "40", "seed": "+1"}),
        (['prompt="a raven, at ""dusk""",steps=3'], {"prompt": 'a raven, at "dusk"', "steps": "3"}),
        (['"prompt=a, b"'], {"prompt": "a, b"}),
        (['extend="left=8,top=16"', "--init="], {"extend": "left=8,top=16", "init": None}),
        (["region=a@x.png,region=b@y.png"], {"region": ("a@x.png", "b@y.png")}),
    ],
)
def test_changes_are_read(told: list[str], changes: dict[str, object]) -> None:
    assert read_changes(tuple(told)) == changes


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("prompt=a raven, at dusk", "'at dusk': is not OPTION=VALUE"),
        ('prompt="a', "the quotes do not match"),
        ("stesp=3", "did you mean steps?"),
        ("steps=many", "steps 'many': must be a whole number"),
        ("strength=+0.1", "counts on from what is not said"),
    ],
)
def test_changes_that_cannot_be_are_refused_in_one_line(
    drawn: Picture, tiny: Path, tmp_path: Path, told: str, said: str
) -> None:
    out = drawn.save(tmp_path / "out.png")
    result = run("replay", out, "--with", told, "--models", tiny.parent)
    assert result.exit_code == 2 and said in result.stderr


def test_a_grid_and_an_animation_are_refused(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    assert run("grid", "a raven", "--model", tiny, "--x", "steps=1,2", "--out", out).exit_code == 0
    with pytest.raises(PictureError, match="a grid; save its cells by --save-cells"):
        replay(out)
    out = tmp_path / "travel.webp"
    travel = run("travel", "a raven", "a fox", "--model", tiny, "--steps", 1, "--frames", 2, "--out", out)
    assert travel.exit_code == 0, travel.output
    with pytest.raises(PictureError, match="an animation; save its frames"):
        replay(out)


def test_threads_are_those_of_the_picture_and_then_those_of_before(facts: Facts) -> None:
    before = torch.get_num_threads()
    for asked in (None, 1, 2, 10**9):
        with as_many_threads(replace(facts, threads=asked)):
            assert torch.get_num_threads() == (asked if asked in (1, 2) else before)
        assert torch.get_num_threads() == before


@given(st.floats(-1e6, 1e6), st.floats(0, 1))
def test_numbers_are_read_back_the_same(one: float, other: float) -> None:
    for value in (one, other):
        assert float(exact(value)) == value and "e" not in exact(value)


@given(st.text("{}|_\\ab:$1 ", max_size=12), st.integers(0, 9))
def test_a_chosen_prompt_leaves_nothing_to_choose(prompt: str, seed: int) -> None:
    request = Request(prompt, seeds=(seed,), wildcards={"a": ["x", "{y|z}", "__b__"], "b": ["\\{", "_"]})
    chosen = request.chosen(seed)[0]
    assert Request(chosen, seeds=(seed,)).chosen(seed)[0] == chosen


def test_another_programs_picture_is_drawn_by_its_recipe(tiny: Path, tmp_path: Path) -> None:
    digits = model_hash(tiny)
    theirs, folder = PngInfo(), str(tmp_path / "out")
    theirs.add_text(
        "parameters", f"a raven\nSteps: 2, Sampler: DPM++ 2M Karras, CFG scale: 3, Seed: 7, Size: 64x64, "
        f"Model hash: {digits}, Model: theirs, Refiner: other, Version: v1.8.0",
    )  # fmt: skip
    path = tmp_path / "theirs.png"
    Image.new("RGB", (64, 64)).save(path, pnginfo=theirs)
    result = run("replay", str(path), "--out", folder, "--with", "steps=+1,device=cpu")
    assert result.exit_code == 0, result.output
    assert "not followed: Refiner: other" in result.output
    facts = read_facts(next((tmp_path / "out").iterdir()))
    assert (facts.prompt, facts.seed, facts.steps, facts.like) == ("a raven", 7, 3, "a1111")
    assert (facts.sampler, facts.spacing, facts.model_hash) == ("dpmpp_2m", "karras", digits)
    unknown = Path(path).read_bytes().replace(digits.encode(), b"0123456789")
    path.write_bytes(_with_checksums(unknown))
    result = run("replay", str(path))
    assert result.exit_code == 2 and "theirs [0123456789], is not among" in result.output


def _with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks were changed, with what tells that they were not."""
    told, at = png[:8], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        chunk = png[at + 4 : at + 8 + size]
        told += png[at : at + 4] + chunk + crc32(chunk).to_bytes(4, "big")
        at += 12 + size
    return told
