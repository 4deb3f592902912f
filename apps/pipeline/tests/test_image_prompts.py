"""Image prompts: read, seen, drawn by; refused in words where they cannot be."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from inkpunk import Pipeline, Request, read_facts
from inkpunk.cli import main
from inkpunk.pictures.png_text import infotext
from PIL import Image, ImageDraw
from torch import Tensor

REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), width=64, height=64)
ADAPTERS = ("plain", "plus")


def picture(colour: str = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A disc."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((4, 4, size[0] - 4, size[1] - 4), fill=colour)
    return image


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    *_, last = pipeline.run(request)
    return last.latents


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_command_line_draws_by_a_picture_and_tells(
    kind: str, tiny: Path, image_prompts: Path, tmp_path: Path
) -> None:
    picture().save(tmp_path / "style.png")
    code, output = run(
        "generate", "a raven", "--model", tiny, "--seed", 3, "--out", tmp_path / "drawn.png", "--device", "cpu",
        "--image-prompt", f"{tmp_path / 'style.png'}:0.6", "--ip-adapter", image_prompts / f"{kind}.safetensors",
    )  # fmt: skip
    assert code == 0, output
    facts = read_facts(tmp_path / "drawn.png")
    assert facts.image_prompts == {"1": "0.6"}
    assert facts.image_prompt_nets["adapter"].startswith(f"{kind} [")
    assert "Image prompts: 1: 0.6 " in infotext(facts).replace('"', "")
