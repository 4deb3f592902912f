"""A pipe in the place of any file that a user may name is refused, and never waited for."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner
from inkpunk.cli import main
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
SECONDS = 30  # a refusal takes less than one


class Waited(BaseException):
    """Nobody writes to the pipe; no reader's `except Exception` stops it."""


@pytest.fixture(autouse=True)
def alarm() -> Generator[None]:
    """What waits for ever fails."""

    def ring(*_: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def places(
    tmp_path: Path, tiny: Path, image_prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A pipe, a folder with one in it, and what is sound."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe.txt")
    os.mkfifo(tmp_path / "folder" / "pipe.safetensors")
    os.mkfifo(tmp_path / "folder" / "preview.png")
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "start.png")
    monkeypatch.chdir(tmp_path)
    names = {"pipe": "pipe", "weights": "pipe.safetensors", "folder": "folder", "start": "start.png"}
    return names | {"tiny": str(tiny), "seeing": str(image_prompts)}


DRAW = ["generate", "a", "--model", "{tiny}", "--steps", "2", "--out", "out.png"]
SEEING = ["--image-prompt", "{start}", "--ip-adapter"]


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "a", "--model", "{pipe}"],
        ["generate", "a", "--model", "{weights}"],
        [*DRAW, "--init", "{pipe}"],
        [*DRAW, "--control", "canny:{pipe}"],
        [*DRAW, "--hint", "canny:{pipe}"],
        [*DRAW, "--image-prompt", "{pipe}"],
        [*DRAW, "--region", "a fox@{pipe}"],
        [*DRAW, "--lora", "{pipe}"],
        [*DRAW, "--lora", "{weights}:0.5"],
        [*DRAW, "--embedding", "{pipe}"],
        [*DRAW, "--embedding", "{folder}"],
        [*DRAW, "--wildcards", "{pipe}"],
        [*DRAW, "--wildcards", "{folder}"],
        [*DRAW, "--lora-folder", "{pipe}", "--lora", "ink"],
        [*DRAW, "--control", "canny:{start}", "--control-net", "canny={pipe}"],
        [*DRAW, "--control", "canny:{start}", "--control-net", "canny={weights}"],
        [*DRAW, *SEEING, "{pipe}"],
        [*DRAW, *SEEING, "{seeing}/plain.safetensors", "--image-encoder", "{pipe}"],
        [*DRAW, "--draft", "--tiny-vae", "{pipe}"],
        [*DRAW, "--preview=1", "--tiny-vae", "{weights}"],
        [*DRAW, "--init", "{start}", "--enlarge", "1.25", "--upscaler", "{pipe}"],
        ["generate", "a", "--model", "{tiny}", "--out", "{pipe}"],
        ["generate", "a", "--model", "{tiny}", "--out", "{folder}", "--preview=1"],
        ["edit", "{pipe}", "a"],
        ["edit", "{start}", "a", "--mask", "{pipe}"],
        ["enlarge", "{pipe}"],
        ["enlarge", "{pipe}", "a"],
        ["replay", "{pipe}"],
        ["inspect", "{pipe}"],
        ["inspect", "{weights}"],
        ["convert", "{pipe}", "out.safetensors"],
        ["convert", "{weights}", "folder-of-diffusers"],
        ["model", "{pipe}"],
        ["model", "--find", "0123456789", "{folder}"],
        ["train", "lora", "{pipe}", "--trigger", "zw"],
        ["train", "lora", "{folder}", "--trigger", "zw"],
        ["prompt", "a", "--embedding", "{pipe}"],
        ["travel", "a", "b", "--init", "{pipe}"],
        ["grid", "a", "--x", "init={pipe}", "--model", "{tiny}"],
    ],
    ids=" ".join,
)
def test_a_pipe_is_refused_and_not_waited_for(places: dict[str, str], command: list[str]) -> None:
    result = CliRunner().invoke(main, [word.format(**places) for word in command])
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert not Path("out.png").exists()
