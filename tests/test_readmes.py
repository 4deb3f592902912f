"""Python examples in READMEs and in the site's guides run as they stand.

Those inside a diffusers program draw that program's picture.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from inkpunk.models.conversion import convert_checkpoint
from PIL import Image
from pytest_examples import CodeExample, EvalExample, find_examples

from tools.make_checkpoint import make_checkpoint

ROOT = Path(__file__).parent.parent
READMES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("packages/*/README.md")),
    *sorted(ROOT.glob("apps/*/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
MODEL = "stable-diffusion-v1-5"  # as the examples call it
EXAMPLES = list(find_examples(*READMES))
INSIDE_DIFFUSERS = [each for each in EXAMPLES if MODEL in each.source]
SETTINGS = {"num_inference_steps": 4, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random one, as a folder and as a .ckpt, and the picture that diffusers draws with it."""
    home = tmp_path_factory.mktemp("diffusers")
    make_checkpoint(home / "small.safetensors", size="small", seed=0)
    convert_checkpoint(home / "small.safetensors", home / MODEL)
    convert_checkpoint(home / "small.safetensors", home / f"{MODEL}.ckpt")
    config = home / MODEL / "unet" / "config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "sample_size": 8})
    )  # and so quick to draw
    pipe = StableDiffusionPipeline.from_pretrained(home / MODEL)
    pipe("a raven", generator=torch.manual_seed(7), **SETTINGS).images[0].save(home / "picture.png")
    return home


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each not in INSIDE_DIFFUSERS], ids=str)
def test_an_example_runs(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if example.prefix == "python":
        eval_example.run(example)


@pytest.mark.parametrize("example", INSIDE_DIFFUSERS, ids=str)
def test_an_example_inside_a_diffusers_program_draws_its_picture(
    example: CodeExample, eval_example: EvalExample, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model)
    drawn, expected = eval_example.run(example)["image"], Image.open("picture.png")
    difference = np.asarray(drawn).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1, "sums in another order move a number to the next level"
