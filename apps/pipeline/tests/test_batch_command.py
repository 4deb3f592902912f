"""`inkpunk batch` as a user meets it."""

import errno
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inkpunk import Pipeline, read_facts
from inkpunk.cli import main
from inkpunk.cli.batch import FORMS, batch
from inkpunk.orders.files import COUNT
from inkpunk.orders.lines import READERS
from inkpunk.orders.manifest import Manifest, Row
from inkpunk.orders.options import OPTIONS


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, arguments)], **options)


@pytest.fixture
def drawing(tiny: Path, tmp_path: Path) -> tuple[object, ...]:
    """Options that draw quickly."""
    return ("--model", tiny, "--device", "cpu", "--out", tmp_path / "out")


def pictures(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").glob("*.png"))


def test_a_file_is_worked_through_and_gone_on_with(tmp_path: Path, drawing: tuple[object, ...]) -> None:
    file = tmp_path / "birds.csv"
    file.write_text("prompt,seed,steps\na raven,7,\nan owl,8,2\na fox,x,\n")
    result = run(file, "--steps", 1, "--negative", "cats", *drawing)
    assert result.exit_code == 1
    assert "line 4: seed 'x': must be a whole number" in result.output
    assert (
        f"{tmp_path / 'out'}: 2 drawn, 1 failed; {tmp_path / 'out' / 'manifest.jsonl'} says why"
        in result.output
    )
    facts = {each.prompt: each for each in map(read_facts, pictures(tmp_path))}
    assert {name: (each.seed, each.steps, each.negative_prompt) for name, each in facts.items()} == {
        "a raven": (7, 1, "cats"),
        "an owl": (8, 2, "cats"),
    }
    file.write_text("prompt,seed,steps\na raven,7,\nan owl,8,2\na fox,9,\n")
    result = run(file, "--steps", 1, "--negative", "cats", *drawing)
    assert (result.exit_code, len(pictures(tmp_path))) == (0, 3)
    assert "1 drawn, 2 there already" in result.output


def test_prompts_are_read_from_standard_input(tmp_path: Path, drawing: tuple[object, ...]) -> None:
    result = run("-", "--steps", 1, "--count", 2, *drawing, input="a raven\n\n# a comment\nan owl\n")
    assert result.exit_code == 0, result.output
    facts = [read_facts(each) for each in pictures(tmp_path)]
    seeds = {
        name: sorted(each.seed for each in facts if each.prompt == name) for name in ("a raven", "an owl")
    }
    assert all(second == first + 1 for first, second in seeds.values())


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gone.jsonl", (), "gone.jsonl: no such file"),
        ("birds.xlsx", (), "birds.xlsx: requests are read from .jsonl"),
        ("birds.jsonl", ("--format", "jpeg", "--keep-alpha"), "a JPEG holds no transparency"),
        ("birds.jsonl", ("--control-net", "canny"), "'canny' is not KIND=FILE"),
        ("birds.jsonl", ("--guidance-interval", "5"), "is not LOW:HIGH"),
    ],
)
def test_what_no_line_could_be_drawn_with_is_refused_at_once(
    tmp_path: Path, name: str, options: tuple[str, ...], said: str
) -> None:
    if name != "gone.jsonl":
        (tmp_path / name).write_text('{"prompt": "a raven"}')
    result = run(tmp_path / name, *options, "--out", tmp_path)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_ctrl_c_ends_it_and_keeps_what_is_done(
    tmp_path: Path, drawing: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swallowed = Pipeline.pictures, list[int]()

    def interrupted(self: Pipeline, *arguments: Any) -> Any:
        try:
            if len(pictures(tmp_path)) == 1:
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:  # as a library may do it
            swallowed.append(1)
        return real(self, *arguments)

    (tmp_path / "birds.txt").write_text("a raven\nan owl\na fox\na lynx\n")
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "pictures", interrupted)
        result = run(tmp_path / "birds.txt", "--steps", 1, *drawing)
    assert result.exit_code == 130
    assert "Interrupted." in result.output
    assert (len(swallowed), len(pictures(tmp_path))) == (1, 2)
    assert run(tmp_path / "birds.txt", "--steps", 1, *drawing).exit_code == 0
    assert len(pictures(tmp_path)) == 4


def test_a_full_disk_is_told_in_one_line(
    tmp_path: Path, drawing: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Manifest, row: Row) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Manifest, "append", full)
    (tmp_path / "birds.jsonl").write_text(json.dumps({"prompt": "a raven", "steps": 1}))
    result = run(tmp_path / "birds.jsonl", *drawing)
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'out'}: No space left on device; what is done stays" in result.output


def test_what_changes_nothing_is_said_once(tmp_path: Path, drawing: tuple[object, ...]) -> None:
    (tmp_path / "birds.csv").write_text("prompt,seed,strength\na raven,7,\nan owl,8,0.5\na fox,9,0.5\n")
    result = run(tmp_path / "birds.csv", "--steps", 2, *drawing)
    assert result.exit_code == 0
    assert result.output.count("--strength changes nothing without --init.") == 1
    assert "line 3: --strength" in result.output
    assert "a blur" not in result.output
    assert (
        run(tmp_path / "birds.csv", "--steps", 2, *drawing).output.count("changes nothing") == 0
    )  # all there


def test_a_line_may_set_what_the_command_may() -> None:
    told = {max(each.opts, key=len).lstrip("-") for each in batch.params}
    of_the_command = {"file", "out", "retry-failed", "as", "batch", COUNT}
    assert told - of_the_command == {*OPTIONS} - {"prompt"}
    assert {*FORMS} == {*READERS}
