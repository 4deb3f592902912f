"""`inkpunk train lora`: from a folder to a file, and all it refuses before it begins."""

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inkpunk import Pipeline
from inkpunk.cli import main
from inkpunk.cli.train import _say_of_trigger
from inkpunk.training.loop import Training
from inkpunk_weights import open_adapter
from PIL import Image, ImageDraw


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kettle"
    folder.mkdir()
    for index in range(5):
        image = Image.new("RGB", (64, 64), (250, 240, 40 * index))
        ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=(20, 10, 30))
        image.save(folder / f"{index}.png")
    return folder


def lora(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", "lora", *map(str, (folder, *arguments))])


def few(tiny: Path, out: Path) -> list[object]:
    what = ["--model", tiny, "--trigger", "zwkettle", "--caption", "a kettle"]
    return [*what, "--steps", 2, "--batch", 1, "--out", out]


def test_a_folder_becomes_a_file(tiny: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kettle.safetensors"
    result = lora(folder, *few(tiny, out), "--flip", "--samples", "zwkettle", "--samples-every", 1)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}\n"
    assert "5 pictures, " in result.stderr and "MiB beside the model" in result.stderr
    assert open_adapter(out).unet and open_adapter(out).text_encoder
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kettle",
        "kettle.safetensors",
        "kettle.samples",
    ]
    assert [path.name for path in sorted((tmp_path / "kettle.samples").iterdir())] == [
        "step000001.png",
        "step000002.png",
    ]
    again = lora(folder, *few(tiny, out))
    assert (
        again.exit_code == 1
        and again.stderr == f"Error: {out}: exists already; choose another name, or add --overwrite\n"
    )


def test_the_prior_is_drawn_beside_it(tiny: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "kettle.safetensors"
    drawn = ["--prior", "draw", "--prior-prompt", "a {fox|cat}", "--prior-count", 3]
    result = lora(folder, *few(tiny, out), *drawn, "--no-text-encoder")
    assert result.exit_code == 0, result.output
    assert "5 pictures and 3 of the prior" in result.stderr
    assert len([*(tmp_path / "kettle.prior").glob("*.png")]) == 3
    assert not open_adapter(out).text_encoder
    assert open_adapter(out).metadata["ss_num_reg_images"] == "3"
    given = lora(folder, *few(tiny, out), "--prior", tmp_path / "kettle.prior", "--overwrite")
    assert given.exit_code == 0, given.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--out", "kettle.png"], "a LoRA is a .safetensors file"),
        (["--out", "missing/kettle.safetensors"], "does not exist; make it first"),
        (["--rate", "0"], "--rate 0: must be more than 0"),
        (["--rate", "nan"], "--rate nan: must be more than 0"),
        (["--alpha", "-1"], "--alpha -1: must be more than 0"),
        (["--size", "100"], "--size 100: must be a multiple of 8"),
        (["--prior", "draw"], "say what to draw, with --prior-prompt"),
        (["--prior-prompt", "a fox"], "has no effect without --prior"),
        (["--prior", "missing"], "missing: no such folder"),
        (["--caption", ""], "no caption: write 0.txt beside it, or give --caption"),
        (["--size", "128"], "too small, 64 x 64 for 128 x 128"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(
    folder: Path, tmp_path: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [
        "--model",
        "no-such-model.safetensors",
        "--trigger",
        "zwkettle",
        "--caption",
        "a kettle",
        *arguments,
    ]
    result = lora(folder, *given)
    assert result.exit_code in (1, 2)
    assert told in result.stderr
    assert "no-such-model" not in result.stderr and "Traceback" not in result.stderr


def test_without_a_trigger_it_has_to_be_told_where_to(folder: Path) -> None:
    assert "--out FILE.safetensors" in lora(folder, "--caption", "a kettle").stderr


@pytest.mark.parametrize(
    ("trigger", "told"), [("copper kettle", "more than one word"), ("fox", "of the model's own")]
)
def test_a_trigger_that_means_something_is_told(
    tiny: Path, folder: Path, tmp_path: Path, trigger: str, told: str
) -> None:
    result = lora(folder, *few(tiny, tmp_path / "it.safetensors"), "--trigger", trigger, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert told in result.stderr


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        ("zwkettle", "met none of its tokens"),
        ("kettle", "met none of its tokens"),
        ("cosvern", ""),
        (None, ""),
    ],
)
def test_a_trigger_that_a_model_cannot_tell_from_others_is_told(
    trigger: str | None, told: str, sketch: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    _say_of_trigger(trigger, sketch)
    said = capsys.readouterr().err
    assert told in said and bool(told) == bool(said)
    assert said.count("\n") <= 1


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Press Ctrl-C during the steps that are put into the list."""
    at = list[int]()
    learn = Training._learn

    def learn_and_press(training: Training) -> float:
        if training.step in at:
            at.remove(training.step)
            signal.raise_signal(signal.SIGINT)
        return learn(training)

    monkeypatch.setattr(Training, "_learn", learn_and_press)
    return at


def test_an_interrupted_training_goes_on_to_the_same_file(
    tiny: Path, folder: Path, tmp_path: Path, interrupting: list[int]
) -> None:
    whole, stopped = (tmp_path / name / "kettle.safetensors" for name in ("whole", "stopped"))
    for out in (whole, stopped):
        out.parent.mkdir()
    assert lora(folder, *few(tiny, whole), "--steps", 4).exit_code == 0
    interrupting.append(1)
    result = lora(folder, *few(tiny, stopped), "--steps", 4)
    state = stopped.with_name("kettle.state.safetensors")
    assert (result.exit_code, stopped.exists(), state.exists()) == (130, False, True), result.output
    assert f"Stopped; the same command goes on from {state}." in result.stderr
    refused = lora(folder, *few(tiny, stopped), "--steps", 4, "--rank", 2)
    assert refused.exit_code == 1 and "a training that differs (rank 8, now 2; alpha" in refused.stderr
    result = lora(folder, *few(tiny, stopped), "--steps", 4)
    assert result.exit_code == 0 and f"Goes on after step 2, from {state}" in result.stderr
    assert not state.exists()
    assert whole.read_bytes() == stopped.read_bytes()
