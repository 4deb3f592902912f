"""A picture is seen while it is drawn, by a linear map of its latents or by a tiny autoencoder."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from inkpunk import Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main, previewing
from inkpunk.models.previews import PREVIEW_KEY, LinearPreview, read_preview
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk.pictures.png_text import infotext
from inkpunk_sampling import Step
from inkpunk_vae import TinyVAE, TinyVAEConfig
from inkpunk_weights import CheckpointError, open_checkpoint
from PIL import Image
from safetensors.torch import load_file, save_file

RAVEN = Request("a raven", seeds=(1, 2))


def last_of(steps: Iterator[Step]) -> Step:
    *_, last = steps
    return last


@pytest.fixture(scope="module")
def with_tiny_vae(tiny: Path, tiny_vae: Path) -> Pipeline:
    return Pipeline.load(tiny, device="cpu", tiny_vae=tiny_vae)


def cli(*arguments: object) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


# The map


def test_a_map_is_a_row_of_colours_for_each_channel_and_a_bias() -> None:
    see = LinearPreview(((1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0,) * 3, (0.0, 0.0, -1.0)), (0.5, 0.25, 0.0))
    latents = torch.tensor([1.0, 2.0, 3.0, 4.0])[None, :, None, None].expand(2, 4, 3, 5)
    assert see(latents).shape == (2, 3, 3, 5)
    assert see(latents.half())[1, :, 2, 4].tolist() == [1.5, 4.25, -4.0]


def test_the_model_in_the_box_is_seen_in_its_own_colours(sketch: Pipeline) -> None:
    """Its map was fitted to renders; here it is held to what the model draws, and Stable Diffusion's to it."""
    request = Request("nvinkpunk raven, neon red splash", seeds=(1, 2), steps=4, width=96, height=96)
    step = last_of(sketch.run(request))
    colours = F.avg_pool2d(sketch.decode(step.latents), 8)

    def missed(see: LinearPreview) -> float:
        return ((see(step.latents) - colours).square().mean() / colours.var()).item()

    assert missed(sketch.linear_preview) < 0.35 < missed(LinearPreview())


@pytest.mark.parametrize(
    "told",
    [
        {"factors": [[1, 2, 3]] * 4, "bias": [0, 0]},
        {"factors": [[1, 2, 3]] * 3},
        {"factors": [[1, 2, "3"], *[[1, 2, 3]] * 3]},
        {"factors": [[1, 2, 1e30], *[[1, 2, 3]] * 3]},
        {"factors": "1234"},
        {"bias": [0, 0, 0]},
    ],
)
def test_metadata_that_tell_no_map_are_refused_in_one_line(tiny: Path, told: dict, tmp_path: Path) -> None:
    checkpoint = replace(open_checkpoint(tiny), metadata={PREVIEW_KEY: json.dumps(told)})
    with pytest.raises(CheckpointError, match="4 lists of 3 numbers each, and bias, 3 numbers") as refusal:
        read_preview(checkpoint)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("out", ["copy.safetensors", "folder"])
def test_a_converted_model_keeps_its_map(sketch: Pipeline, out: str, tmp_path: Path) -> None:
    assert cli("convert", "sketch", tmp_path / out).exit_code == 0
    found = read_preview(open_checkpoint(tmp_path / out))
    assert found == sketch.linear_preview != LinearPreview()


# Of the pipeline


def test_a_preview_is_what_the_step_expects(pipeline: Pipeline, with_tiny_vae: Pipeline) -> None:
    step = last_of(pipeline.run(RAVEN))
    small, large = pipeline.preview(step), with_tiny_vae.preview(step)
    assert [image.size for image in small] == [(8, 8)] * 2
    assert [image.size for image in large] == [(64, 64)] * 2
    for images, see in ((small, pipeline.linear_preview), (large, with_tiny_vae.decode_roughly)):
        seen = torch.stack([image_to_tensor(image) for image in images])
        torch.testing.assert_close(seen, see(step.denoised).clamp(-1, 1), rtol=0, atol=1 / 255 + 1e-6)


def test_looking_changes_nothing(pipeline: Pipeline, with_tiny_vae: Pipeline) -> None:
    steps = [step for step in with_tiny_vae.run(RAVEN) if with_tiny_vae.preview(step)]
    assert torch.equal(steps[-1].latents, last_of(pipeline.run(RAVEN)).latents)


def test_a_draft_is_decoded_by_the_tiny_autoencoder_and_says_so(
    with_tiny_vae: Pipeline, tiny_vae: Path
) -> None:
    draft = replace(RAVEN, draft=True)
    step = last_of(with_tiny_vae.run(draft))
    drawn = with_tiny_vae.pictures(draft, step.latents)
    assert [image.image.tobytes() for image in drawn] == [
        image.tobytes() for image in with_tiny_vae.preview(replace(step, denoised=step.latents))
    ]
    told = with_tiny_vae.tiny_vae.told
    assert told.startswith("taesd_decoder [") and drawn[0].facts.tiny_vae == told
    assert f"VAE Decoder: TAESD, Tiny VAE: {told}" in infotext(drawn[0].facts)
    assert with_tiny_vae.pictures(RAVEN, step.latents)[0].facts.tiny_vae is None


def test_a_draft_without_a_tiny_autoencoder_is_refused_before_the_first_step(pipeline: Pipeline) -> None:
    with pytest.raises(
        RequestError, match=r"takes a tiny autoencoder; give one as --tiny-vae .*madebyollin/taesd"
    ):
        pipeline.run(replace(RAVEN, draft=True))


def test_a_tiny_autoencoder_of_another_factor_is_refused(tiny: Path, tmp_path: Path) -> None:
    config = TinyVAEConfig(width=8, encoder_blocks=(), decoder_blocks=(1,))
    layers = TinyVAE(config).decoder.state_dict()
    numbers = {"conv_in": "0", "conv_out": "3"} | {
        f"levels.0.blocks.0.conv{n + 1}": f"2.conv.{2 * n}" for n in range(3)
    }
    path = tmp_path / "flat.safetensors"
    save_file(
        {
            f"decoder.layers.{numbers[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": layers[name]
            for name in layers
        },
        path,
    )
    loaded = Pipeline.load(tiny, device="cpu", tiny_vae=path)
    with pytest.raises(CheckpointError, match=r"makes 1 x 1 pixels of a latent, and this model's VAE 8 x 8"):
        loaded.run(replace(RAVEN, draft=True))


def test_it_computes_in_the_precision_of_the_rest_and_waits_where_it_does(tiny: Path, tiny_vae: Path) -> None:
    low = Pipeline.load(tiny, device="cpu", tiny_vae=tiny_vae, low_memory=True)
    latents = torch.randn(1, 4, 4, 4)
    usual = Pipeline.load(tiny, device="cpu", tiny_vae=tiny_vae).decode_roughly(latents)
    # Weights of 16 bits: 11 binary digits, through some fifteen layers.
    torch.testing.assert_close(low.decode_roughly(latents), usual, rtol=0, atol=2e-2)


# Of the command line


def test_previews_are_written_while_it_is_drawn_and_gone_at_the_end(
    tiny: Path, tiny_vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[tuple[str, tuple[int, int]]]()

    def watched(image: Image.Image, place: Path) -> None:
        written(image, place)
        with Image.open(place) as found:
            seen.append((place.name, found.size))

    written = previewing.write
    monkeypatch.setattr(previewing, "write", watched)
    arguments = ("generate", "a raven", "--model", tiny, "--device", "cpu", "--steps", 5)
    assert cli(*arguments, "--out", tmp_path, "--batch", 2, "--count", 2, "--preview=2").exit_code == 0
    assert seen == [("preview.png", (512, 256))] * 2  # after the second and the fourth
    seen.clear()
    out = tmp_path / "raven.webp"
    assert cli(*arguments, "--out", out, "--tiny-vae", tiny_vae, "--steps", 6, "--preview").exit_code == 0
    assert seen == [("raven.preview.png", (256, 256))]
    assert not list(tmp_path.glob("*preview*")) and len(list(tmp_path.iterdir())) == 3


def test_the_users_own_file_of_that_name_is_left_alone_and_a_killed_run_s_is_not(
    tiny: Path, tmp_path: Path
) -> None:
    place = tmp_path / "preview.png"
    Image.new("RGB", (8, 8)).save(place)
    arguments = ("generate", "a raven", "--model", tiny, "--device", "cpu", "--out", tmp_path, "--preview", 1)
    before, result = place.read_bytes(), cli(*arguments)
    assert result.exit_code == 1 and "exists already, and is no preview; move it" in result.output
    assert place.read_bytes() == before
    previewing.write(Image.new("RGB", (8, 8)), place)
    assert cli(*arguments).exit_code == 0
    assert not place.exists()


def test_a_prompt_taken_for_a_number_of_steps_is_told() -> None:
    result = cli("generate", "--preview", "a raven")
    assert result.exit_code == 2
    assert "Write --preview=5, or --preview as the last word" in result.output


def test_a_draft_is_a_recipe(tiny: Path, tiny_vae: Path, tmp_path: Path) -> None:
    out = tmp_path / "draft.png"
    arguments = ("generate", "a raven", "--model", tiny, "--device", "cpu", "--out", out, "--draft")
    assert cli(*arguments, "--tiny-vae", tiny_vae).exit_code == 0
    assert read_facts(out).tiny_vae.startswith("taesd_decoder [")
    assert "takes a tiny autoencoder" in cli(*arguments, "--overwrite").output
    idle = cli(*arguments[:-1], "--overwrite", "--tiny-vae", tiny_vae)
    assert "--tiny-vae changes nothing without --preview or --draft." in idle.output


def test_other_files_are_refused_and_a_tiny_autoencoder_is_told_where_it_belongs(
    tiny: Path, tiny_vae: Path, tmp_path: Path
) -> None:
    drawn = ("generate", "a raven", "--device", "cpu", "--out", tmp_path / "x.png")
    result = cli(*drawn, "--model", tiny, "--draft", "--tiny-vae", tiny)
    assert (
        result.exit_code == 1
        and "not a tiny autoencoder but a checkpoint of Stable Diffusion v1" in result.output
    )
    result = cli(*drawn, "--model", tiny, "--preview=1000", "--tiny-vae", tiny)
    assert result.exit_code == 1 and "not a tiny autoencoder" in result.output
    assert "; give it as --tiny-vae" in cli(*drawn, "--model", tiny_vae).output
    assert "a tiny autoencoder (TAESD)" in cli("inspect", tiny_vae).output


def test_no_terminal_is_asked_where_there_is_none_or_a_dumb_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)  # importing it would raise
    assert previewing.terminal_picture() is None


@pytest.mark.parametrize(("terminal", "shown"), [("xterm-256color", True), ("dumb", False)])
def test_a_terminal_that_can_show_pictures_is_given_them(
    monkeypatch: pytest.MonkeyPatch, terminal: str, shown: bool
) -> None:
    class Sixel:
        def __init__(self, image: Image.Image, width: int, height: str) -> None:
            self.image, self.width = image, width

    class Terminal:
        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise AssertionError

    module = type(sys)("renderable")
    module.Image = module.SixelImage = Sixel
    module.TGPImage = type("TGP", (), {})
    monkeypatch.setitem(sys.modules, "textual_image.renderable", module)
    monkeypatch.setenv("TERM", terminal)
    for name in ("stderr", "__stdin__", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, Terminal())
    make = previewing.terminal_picture()
    assert (make is not None) == shown
    if make:
        assert make(Image.new("RGB", (8, 8))).width == previewing.COLUMNS
    module.Image = type("HalfCells", (), {})
    assert previewing.terminal_picture() is None


def test_the_files_own_tensors_are_all_used(tiny_vae: Path, with_tiny_vae: Pipeline) -> None:
    opened = with_tiny_vae.tiny_vae.opened
    assert opened.parameters == sum(tensor.numel() for tensor in load_file(tiny_vae).values())
