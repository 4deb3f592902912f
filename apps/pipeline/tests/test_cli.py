"""The command line as a user meets it: what it prints, what it writes, what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from inkpunk import Pipeline, read_facts
from inkpunk.cli import main
from inkpunk.cli.options import choices
from inkpunk.cli.progress import with_progress
from inkpunk.road.programs import PROGRAMS
from inkpunk.road.trace import Stage  # noqa: F401  # compiled here: 3.11 cannot compile it, with its checks, deep in a runner
from inkpunk_sampling import PREDICTIONS, SAMPLERS, SPACINGS
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from PIL import Image
from safetensors.torch import load_file, save_file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def draw(tiny: Path, *arguments: object) -> Result:
    return run("generate", "a raven", "--model", tiny, "--device", "cpu", *arguments)


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_generate_writes_the_picture_and_prints_where(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    result = draw(tiny, "--seed", 7, "--steps", 2, "--negative", "owl", "--out", out)
    assert result.exit_code == 0, result.output
    assert str(out) in result.output
    facts = read_facts(out)
    assert (facts.prompt, facts.negative_prompt, facts.seed, facts.steps) == ("a raven", "owl", 7, 2)
    assert len(pixels(out)) == 64 * 64 * 3


def test_the_models_note_is_said_and_kept_in_the_picture(tiny: Path, tmp_path: Path) -> None:
    result = draw(tiny, "--out", tmp_path / "raven.png")
    assert "random weights" in result.output
    assert "random weights" in (read_facts(tmp_path / "raven.png").note or "")


def test_count_draws_consecutive_seeds_into_a_folder(tiny: Path, tmp_path: Path) -> None:
    assert draw(tiny, "--seed", 7, "--count", 3, "--batch", 2, "--steps", 1, "--out", tmp_path).exit_code == 0
    assert [read_facts(tmp_path / name).seed for name in files(tmp_path)] == [7, 8, 9]


def test_a_batch_draws_what_single_pictures_do(tiny: Path, tmp_path: Path) -> None:
    draw(tiny, "--seed", 7, "--count", 2, "--batch", 2, "--steps", 1, "--out", tmp_path / "together")
    draw(tiny, "--seed", 7, "--count", 2, "--steps", 1, "--out", tmp_path / "alone")
    for name in files(tmp_path / "together"):
        pair = [pixels(tmp_path / folder / name) for folder in ("together", "alone")]
        assert max(abs(one - other) for one, other in zip(*pair, strict=True)) <= 1


def test_an_existing_file_is_never_overwritten_silently(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    out.write_bytes(b"precious")
    result = draw(tiny, "--out", out)
    assert result.exit_code == 1
    assert "--overwrite" in result.output
    assert out.read_bytes() == b"precious"
    assert draw(tiny, "--steps", 1, "--out", out, "--overwrite").exit_code == 0
    assert read_facts(out).steps == 1


def test_image_to_image_starts_from_a_picture_of_any_size(tiny: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.jpg"
    Image.new("RGB", (300, 200), "navy").save(start)
    out = tmp_path / "raven.png"
    result = draw(tiny, "--init", start, "--strength", 0.5, "--steps", 4, "--out", out)
    assert result.exit_code == 0, result.output
    assert read_facts(out).strength == 0.5


def test_a_long_prompt_is_cut_only_as_diffusers_does_and_never_silently(tiny: Path, tmp_path: Path) -> None:
    def drawn(name: str, *more: object) -> tuple[str, Image.Image]:
        prompt, out = "raven " * 75 + "lighthouse", tmp_path / name
        settings = "--model", tiny, "--steps", 1, "--seed", 1, "--sampler", "euler", "--spacing", "karras"
        result = run("generate", prompt, *settings, "--out", out, *more)
        return result.output, Image.open(out)

    output, whole = drawn("raven.png")
    assert "lighthouse" not in output.replace(str(tmp_path), "")
    output, cut = drawn("cut.png", "--like", "diffusers")
    assert "cut after 77 tokens, as diffusers does: 'lighthouse'" in output
    assert whole.tobytes() != cut.tobytes()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--width", 100], "nearest are 96 and 104"),
        (["--sampler", "dpmm"], "ddpm"),
        (["--strength", 0], "above 0"),
        (["--guidance", -3], "between 0 and 100"),
        (["--init", "nowhere.png"], "nowhere.png"),
        (["--device", "abacus"], "not a device"),
        (["--count", 2, "--out", "one.png"], "give a folder"),
        (["--out", "no/such/folder/a.png"], "does not exist"),
    ],
)
def test_a_bad_option_gets_one_clear_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = draw(tiny, *arguments)
    assert result.exit_code in (1, 2)
    assert line in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("*.png"))


def test_a_model_that_is_not_there_gets_one_clear_line(tmp_path: Path) -> None:
    result = run("generate", "a raven", "--model", "nowhere.safetensors", "--out", tmp_path / "a.png")
    assert result.exit_code == 1
    assert "nowhere.safetensors" in result.output


def test_a_checkpoint_that_lacks_tensors_is_refused_with_all_of_them_at_once(
    tiny: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    tensors = load_file(tiny)
    lost = ["model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_in.bias"]
    save_file({name: value for name, value in tensors.items() if name not in lost}, broken)
    result = run("generate", "a raven", "--model", broken, "--out", tmp_path / "a.png")
    assert result.exit_code == 1
    assert all(name in result.output for name in lost)


def test_ctrl_c_leaves_no_file(tiny: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "inkpunk", "generate", "a raven", "--model", tiny, "--steps", 1000]
    command = [str(part) for part in [*program, "--width", 256, "--height", 256, "--out", tmp_path / "a.png"]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:  # the note about the model comes when it is loaded, before the first step
            if "random weights" in line:
                break
        process.send_signal(signal.SIGINT)
        remaining = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in remaining
    assert files(tmp_path) == []


def test_trace_tells_every_stage_with_its_shapes(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    result = run("trace", "a raven", "--model", tiny, "--steps", 2, "--seed", 7, "--out", out)
    assert result.exit_code == 0, result.output
    stages = [
        "[2,77]",
        "[2,77,32]",
        "[1,4,8,8]",
        "[1,32]",
        "[1,4,8,8]",
        "[1,4,8,8]",
        "[1,4,8,8]",
        "[1,3,64,64]",
    ]
    lines = result.stdout.splitlines()
    assert lines[:2] == ["prompt: chunk 1 of 1, 2 of 75 tokens", "      1  a | raven"]
    head = next(index for index, line in enumerate(lines) if line.startswith("stage"))
    rows = [line for line in lines[head + 1 :] if "[" in line]
    assert [row[65:89].split()[0] for row in rows] == [*stages, "[64,64,3]"]
    draw(tiny, "--steps", 2, "--seed", 7, "--out", tmp_path / "same.png")
    assert pixels(out) == pixels(tmp_path / "same.png")


def test_inspect_tells_what_a_checkpoint_is(tiny: Path) -> None:
    result = run("inspect", tiny)
    assert result.exit_code == 0
    for part in ("single-file safetensors", "text_encoder", "unet", "vae", "parameters", "float32"):
        assert part in result.output
    told = json.loads(run("inspect", tiny, "--json").output)
    assert [component["name"] for component in told["components"]] == ["text_encoder", "unet", "vae"]


def test_inspect_finds_what_is_not_finite_only_when_asked_to_read(tiny: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(tiny)
    vae = {name: checkpoint.vae[name].clone() for name in checkpoint.vae}
    vae["decoder.conv_in.bias"][0] = float("nan")
    path = tmp_path / "sick.safetensors"
    save_checkpoint(path, vae=vae)
    assert run("inspect", path).exit_code == 0
    result = run("inspect", path, "--finite")
    assert result.exit_code == 1
    assert "first_stage_model.decoder.conv_in.bias" in result.output


@pytest.mark.parametrize("name", ["copy.ckpt", "copy.safetensors", "folder"])
def test_a_converted_checkpoint_draws_the_same_picture(tiny: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    assert run("convert", tiny, copy).exit_code == 0
    for model, out in ((tiny, "original.png"), (copy, "copy.png")):
        arguments = ["--seed", 7, "--steps", 2, "--guidance", 4, "--width", 64, "--height", 64]
        assert draw(model, *arguments, "--out", tmp_path / out).exit_code == 0
    assert pixels(tmp_path / "original.png") == pixels(tmp_path / "copy.png")


def test_convert_changes_the_precision(tiny: Path, tmp_path: Path) -> None:
    assert run("convert", tiny, tmp_path / "half.safetensors", "--dtype", "float16").exit_code == 0
    assert "float16" in run("inspect", tmp_path / "half.safetensors").output


def test_convert_refuses_an_ending_that_tells_nothing(tiny: Path, tmp_path: Path) -> None:
    result = run("convert", tiny, tmp_path / "model.zip")
    assert result.exit_code == 1
    assert "--layout" in result.output


def test_samplers_lists_each_with_what_other_programs_call_it() -> None:
    lines = run("samplers").output.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == [*SAMPLERS]
    assert lines[-1].startswith("The default is dpmpp_2m.")
    [row] = [line for line in lines if line.startswith("dpmpp_2m ")]
    assert "DPM++ 2M" in row and "DPMSolverMultistepScheduler" in row and "deterministic" in row


def test_the_command_line_has_every_spacing_program_and_prediction() -> None:
    assert (*SPACINGS,) == choices.SPACINGS
    assert (*PROGRAMS,) == choices.PROGRAMS
    assert (*PREDICTIONS,) == choices.PREDICTIONS


def test_generate_takes_what_decides_how_to_sample(tiny: Path, tmp_path: Path) -> None:
    sampling = ("--like", "a1111", "--sampler", "DPM++ 2M SDE", "--spacing", "SGM Uniform", "--eta", 0.5)
    model = ("--clip-skip", 2, "--prediction", "v", "--zero-snr")
    result = draw(tiny, *sampling, *model, "--seed", 7, "--out", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    facts = read_facts(tmp_path / "a.png")
    assert (facts.like, facts.sampler, facts.spacing) == ("a1111", "dpmpp_2m_sde", "sgm_uniform")
    assert (facts.eta, facts.clip_skip, facts.prediction, facts.zero_snr) == (0.5, 2, "v", True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sampler", "heun", "--eta", 1), "sampler 'heun' leaves no choice of noise"),
        (("--spacing", "even"), "spacing 'even': there is none of that name"),
        (("--like", "a1111", "--sampler", "DDIM", "--steps", 1), "none is left to take; give at least 2"),
        (("--like", "comfyui", "--strength", 0.001, "--init", "white.png"), "would be the end of"),
        (("--zero-snr",), "add --prediction v"),
        (("--clip-skip", 0), "must be at least 1"),
        (("--clip-skip", 9), "this model's text encoder has 2 layers"),
    ],
)
def test_generate_refuses_in_one_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), "white").save("white.png")
    result = draw(tiny, *arguments, "--out", tmp_path / "a.png")
    assert result.exit_code == 1 and not (tmp_path / "a.png").exists()
    assert words in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("device", ["xpu", "hpu", "mtia", "xpu:0", "cuda:7", "npu", "nonsense"])
def test_a_device_that_is_not_here_is_refused_in_one_line(tiny: Path, device: str) -> None:
    result = draw(tiny, "--device", device)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"Error: device '{device}': ")


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("file/picture.png", "make it first"),
        ("file/folder", "cannot be saved to"),
        ("x" * 300 + ".png", "cannot be saved to: File name too long"),
        ("x" * 300, "cannot be saved to: File name too long"),
        ("picture.gif", "pictures are saved as .png, .jpg, .webp or .avif, which hold their recipe"),
        ("picture.JFIF", "pictures are saved as .png, .jpg, .webp or .avif, which hold their recipe"),
        ("picture.exr", "pictures are saved as .png, .jpg, .webp or .avif, which hold their recipe"),
        ("picture.mp4", "pictures are saved as .png, .jpg, .webp or .avif, which hold their recipe"),
    ],
)
def test_where_nothing_can_be_saved_is_refused_before_any_work(
    tiny: Path, tmp_path: Path, out: str, words: str
) -> None:
    (tmp_path / "file").touch()
    result = draw(tiny, "--out", tmp_path / out)
    assert result.exit_code in (1, 2)
    assert words in result.output and "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_named_as_a_picture_is_refused_before_any_work(
    tiny: Path, tmp_path: Path, overwrite: list[str]
) -> None:
    (tmp_path / "raven.png").mkdir()
    result = draw(tmp_path / "none.safetensors", "--out", tmp_path / "raven.png", *overwrite)
    assert result.exit_code == 1
    assert "raven.png: is a folder; name a file in it" in result.output


def test_a_link_to_nothing_keeps_its_name(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "raven.png"
    out.symlink_to(tmp_path / "nowhere.png")
    result = draw(tmp_path / "none.safetensors", "--out", out)
    assert result.exit_code == 1 and "exists already" in result.output
    assert draw(tiny, "--steps", 1, "--out", out, "--overwrite").exit_code == 0
    assert not out.is_symlink() and len(pixels(out)) == 64 * 64 * 3


def test_a_loras_place_is_looked_at_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "ink.safetensors").mkdir()
    arguments = "train", "lora", tmp_path / "pictures", "--caption", "a raven", "--out"
    result = run(*arguments, tmp_path / "ink.safetensors", "--overwrite")
    assert result.exit_code == 1 and "is a folder; name a file" in result.output
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)
    result = run(*arguments, tmp_path / "new.safetensors")
    assert result.exit_code == 1 and "no permission to write there" in result.output


@pytest.mark.parametrize("fps", ["0", "nan", "inf", "1e-300", "0.01", "-5"])
def test_a_pace_that_no_file_can_tell_is_refused_before_any_work(tmp_path: Path, fps: str) -> None:
    out = tmp_path / "a.png"
    result = run("travel", "a", "b", "--fps", fps, "--out", out, "--model", tmp_path / "none.safetensors")
    assert result.exit_code == 1
    assert "must lie between 0.02 and 1000" in result.output


@pytest.mark.parametrize(
    "option",
    [["--batch", 10**30], ["--count", 10**10], ["--width", int("9" * 400)], ["--seed", int("9" * 400)]],
)
def test_absurd_numbers_are_refused_in_one_line(tiny: Path, option: list[object]) -> None:
    result = draw(tiny, *option)
    assert result.exit_code == 2
    assert "Error: Invalid value for" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--negative", "owl", "--guidance", 1], "The negative prompt changes nothing at guidance 1"),
        (["--strength", 0.5], "--strength changes nothing without --init"),
        (["--steps", 1], "One step draws a blur"),
    ],
)
def test_what_changes_nothing_is_said(tiny: Path, tmp_path: Path, options: list[object], words: str) -> None:
    result = draw(tiny, "--steps", 2, *options, "--out", tmp_path / "raven.png")
    assert result.exit_code == 0
    assert words in result.stderr
    plain = draw(tiny, "--steps", 2, "--negative", "owl", "--out", tmp_path / "plain.png")
    assert words not in plain.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--negative", "owl", "--guidance", 1], "The negative prompt changes nothing at guidance 1"),
        (["--strength", 0.5], "--strength changes nothing without --init"),
        (["--steps", 1], "One step draws a blur"),
    ],
)
def test_every_command_that_draws_says_what_changes_nothing(
    tiny: Path, tmp_path: Path, options: list[object], words: str
) -> None:
    model = "--model", tiny, "--device", "cpu", "--seed", 1
    out, whole = ("--out", tmp_path), ("--strength", 1)
    assert words in run("grid", "a", *model, "--steps", 2, *options, *out, "--x", "clip-skip=1,2").stderr
    assert words in run("travel", "a", "b", *model, "--steps", 2, *options, *out, "--frames", 2).stderr
    if "--strength" not in options:
        assert words in run("trace", "a", *model, "--steps", 2, *options).stderr
        Image.new("RGB", (64, 64)).save(tmp_path / "start.png")
        larger = run(
            "enlarge", tmp_path / "start.png", "a", "--by", 1, *model, "--steps", 2, *options, *out, *whole
        )
        assert larger.exit_code == 0 and words in larger.stderr, larger.output


def test_a_grid_in_which_it_changes_some_cells_says_nothing_of_it(tiny: Path, tmp_path: Path) -> None:
    arguments = "--model", tiny, "--device", "cpu", "--out", tmp_path, "--negative", "owl", "--steps", 2
    result = run("grid", "a", *arguments, "--x", "guidance=1,2")
    assert result.exit_code == 0 and "changes nothing" not in result.stderr


@pytest.mark.parametrize("becomes", [ImportError, RuntimeError, CheckpointError, None])
def test_ctrl_c_that_a_library_takes_for_an_error_of_its_own_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, becomes: type[Exception] | None
) -> None:
    def swallow() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if becomes:
                raise becomes("of a library") from None
        for _ in with_progress(iter([Counted()]), "work"):
            pytest.fail("it went on")

    monkeypatch.setitem(main.commands, "swallow", click.Command("swallow", callback=swallow))
    result = run("swallow")
    assert result.exit_code == 130
    assert result.output.splitlines()[-1] == "Interrupted."
    assert isinstance(result.exception, SystemExit)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@dataclass(frozen=True)
class Counted:
    index: int = 1
    total: int = 1


def test_a_model_that_goes_while_it_draws_loses_no_picture(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    shutil.copy(tiny, model)
    decode = Pipeline.decode

    def gone(*arguments: Any) -> Any:
        model.unlink(missing_ok=True)
        return decode(*arguments)

    monkeypatch.setattr(Pipeline, "decode", gone)
    result = draw(model, "--steps", 1, "--seed", 7, "--count", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert [read_facts(tmp_path / "out" / name).seed for name in files(tmp_path / "out")] == [7, 8]
    assert "no model hash: model cannot be read any more" in result.stderr


def of_another_package(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    """Have another package add a command under these names, whatever else is installed."""
    (folder / "added_by_a_test.py").write_text(
        "import click\n\n@click.command(help='Of another package.')\ndef command():\n    click.echo('it runs')\n"
    )
    monkeypatch.syspath_prepend(folder)
    found = [EntryPoint(name, "added_by_a_test:command", "inkpunk.commands") for name in names]
    found.append(EntryPoint("broken", "gone_from_disk:command", "inkpunk.commands"))
    monkeypatch.setattr("inkpunk.cli.entry_points", lambda group: found)


def test_another_packages_command_joins_and_ours_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_another_package(monkeypatch, tmp_path, "added", "samplers")
    assert "Of another package." in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, ["added"]).output == "it runs\n"
    assert "dpmpp_2m" in CliRunner().invoke(main, ["samplers"]).output


def test_another_packages_broken_command_says_so_and_leaves_ours_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_another_package(monkeypatch, tmp_path)
    told = CliRunner().invoke(main, ["broken", "--any", "thing"])
    assert told.exit_code == 1
    said = "broken: its package cannot be imported: No module named 'gone_from_disk'; install it anew"
    assert told.output == f"Error: {said}\n"
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
