"""A recipe is whole: drawings that differ have different recipes, whatever option made them differ."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from shutil import copyfile, copytree

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk import Facts, Pipeline, Request, read_facts
from inkpunk.cli import main
from inkpunk.cli.generate import generate
from inkpunk.models.trained_for import schedule_in_words
from inkpunk.orders.replay import replay
from inkpunk.pictures.png_text import infotext
from inkpunk_clip import TextEncoder
from inkpunk_sampling import NoiseSchedule
from inkpunk_unet import UNet
from inkpunk_vae import VAE
from inkpunk_weights import LowRank, save_checkpoint, save_lora
from PIL import Image
from safetensors.torch import load_file, save_file

#: Options of `generate` that say which picture, where to, or how it is told, and not how it is drawn.
ELSEWHERE = {
    "prompt",
    "seed",
    "count",
    "batch",
    "out",
    "overwrite",
    "save_hint",
    "preview",
    "model",
    "lora_folder",
}
#: Those that say what file it is saved as.
OF_THE_FILE = {"form", "quality"}
#: Those that act on what a machine has, or has not: their values are told by "device" and "speed".
OF_THE_MACHINE = {"device", "compile", "offload"}


@pytest.fixture(scope="session")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    networks: Callable[[], tuple[TextEncoder, UNet, VAE]],
    control_net: Path,
    image_prompts: Path,
    tiny_vae: Path,
    upscaler: Path,
) -> Path:
    """Two checkpoints, a picture, lists and a learned word."""
    home = tmp_path_factory.mktemp("recipes")
    torch.manual_seed(1)
    text_encoder, unet, vae = networks()
    configs = {"text_encoder": {"heads": 4}, "unet": {"heads": 4, "groups": 8}, "vae": {"groups": 4}}
    save_checkpoint(
        home / "model.safetensors",
        text_encoder=text_encoder.state_dict(),
        unet=unet.state_dict(),
        vae=vae.state_dict(),
        metadata={
            "inkpunk.config": json.dumps(configs),
            "inkpunk.defaults": json.dumps({"size": 64, "steps": 3, "guidance": 4.0}),
        },
    )
    Image.effect_noise((64, 64), 60).convert("RGB").save(home / "start.png")
    Image.new("RGB", (64, 64), "navy").save(home / "other.png")
    Image.new("RGBA", (64, 64), (250, 20, 0, 90)).save(home / "clear.png")
    (home / "lists").mkdir()
    (home / "lists" / "bird.txt").write_text("raven\nowl\n")
    save_file({"emb_params": torch.randn(2, 32)}, home / "word.safetensors")
    change = LowRank(torch.randn(2, 32, 3, 3), torch.randn(32, 2, 1, 1), alpha=2.0)
    save_lora(home / "bent.safetensors", unet={"down.0.resnets.0.conv1": change})
    copyfile(control_net, home / "control.safetensors")
    copytree(image_prompts, home / "seeing")
    copyfile(tiny_vae, home / "taesd.safetensors")
    save_file({name: -tensor for name, tensor in load_file(tiny_vae).items()}, home / "other.safetensors")
    copyfile(upscaler, home / "2x.pth")
    return home


#: A value that changes the picture for each option that may, and what it takes beside it.
OPTIONS: dict[str, list[str]] = {
    "negative_prompt": ["--negative", "owl"],
    "steps": ["--steps", "4"],
    "guidance": ["--guidance", "6"],
    "width": ["--width", "72"],
    "height": ["--height", "56"],
    "guidance_rescale": ["--guidance-rescale", "0.7"],
    "guidance_interval": ["--guidance-interval", "0.28:5.42"],
    "apg": ["--apg"],
    "sampler": ["--sampler", "euler_a"],
    "spacing": ["--spacing", "linspace"],
    "eta": ["--eta", "0.5", "--sampler", "ddim"],
    "like": ["--like", "comfyui"],
    "clip_skip": ["--clip-skip", "2"],
    "emphasis": ["--emphasis", "ignore"],
    "plain_prompt": ["--plain-prompt"],
    "wildcards": ["--wildcards", "{lists}"],
    "init": ["--init", "{start}"],
    "strength": ["--init", "{start}", "--strength", "0.5"],
    "enlarge": ["--enlarge", "80x96"],
    "enlarge_by": ["--enlarge", "1.25", "--enlarge-by", "pixels"],
    "enlarge_strength": ["--enlarge", "1.25", "--enlarge-strength", "0.7"],
    "enlarge_steps": ["--enlarge", "1.25", "--enlarge-steps", "5"],
    "enlarge_sampler": ["--enlarge", "1.25", "--enlarge-sampler", "euler_a"],
    "upscaler": ["--init", "{start}", "--enlarge", "1.25", "--upscaler", "{upscaler}"],
    "tile_size": ["--tile-size", "64", "--width", "88"],
    "embeddings": ["--embedding", "{word}"],
    "loras": ["--lora", "{bent}:0.5"],
    "controls": ["--control", "canny:{start}:0.9:0-0.7", "--control-net", "canny={control}"],
    "hints": ["--hint", "pose:{start}", "--control-net", "pose={control}"],
    "guess": ["--guess", "--hint", "pose:{start}", "--control-net", "pose={control}"],
    "control_nets": ["--control-net", "canny={control}", "--control", "canny:{start}"],
    "image_prompts": ["--image-prompt", "{start}:0.9", "--ip-adapter", "{seeing}/plain.safetensors"],
    "ip_adapter": ["--ip-adapter", "{seeing}/plus.safetensors", "--image-prompt", "{start}"],
    "image_encoder": [
        "--image-prompt",
        "{start}",
        "--ip-adapter",
        "{seeing}/plain.safetensors",
        "--image-encoder",
        "{seeing}/image_encoder/model.safetensors",
    ],
    "regions": ["--region", "a fox@{start}"],
    "draft": ["--draft", "--tiny-vae", "{taesd}"],
    "tiny_vae": ["--tiny-vae", "{other}", "--draft"],
    "tileable": ["--tileable", "x"],
    "blend": ["--blend", "a fox __bird__:0.3"],
    "vary": ["--vary", "8:0.2"],
    "seed_resize": ["--seed-resize", "48x80"],
    "resize": ["--init", "{start}", "--width", "72", "--height", "56", "--resize", "pad"],
    "match_colours": ["--init", "{start}", "--match-colours"],
    "keep_alpha": ["--init", "{clear}", "--keep-alpha"],
    "dtype": ["--dtype", "bfloat16"],
    "tiled": ["--tiled"],
    "low_memory": ["--low-memory"],
    "deterministic": ["--deterministic"],
    "without": ["--without", "winograd", "--without", "attention"],
    "prediction": ["--prediction", "v"],
    "zero_snr": ["--zero-snr", "--prediction", "v"],
    "ema": ["--ema"],
}
PROMPT = "a (word:1.4) __bird__"


def test_every_option_of_generate_is_thought_of() -> None:
    names = {parameter.name for parameter in generate.params}
    assert names == {*OPTIONS} | ELSEWHERE | OF_THE_FILE | OF_THE_MACHINE


class Refused(Exception):
    """Options that do not go together."""


LOADED: dict[str, Pipeline] = {}


def loaded(*asked: object, **settings: object) -> Pipeline:
    """Loading took half of the time: what is asked for again is there."""
    key = repr((asked, sorted(settings.items())))
    if key not in LOADED:
        LOADED[key] = load(*asked, **settings)  # pyright: ignore[reportArgumentType]
    return LOADED[key]


load = Pipeline.load


DRAWN: dict[tuple[str, ...], tuple[bytes, Facts, str]] = {}


def file_of(folder: Path, *options: str) -> Path:
    """Where a drawing is saved."""
    return folder / f"{md5(repr(options).encode()).hexdigest()}.png"


def drawn(folder: Path, *options: str) -> tuple[bytes, Facts, str]:
    """The pixels, and both texts of the recipe; drawn once."""
    if options not in DRAWN:
        DRAWN[options] = draw(folder, *options)
    return DRAWN[options]


def draw(folder: Path, *options: str) -> tuple[bytes, Facts, str]:
    out = file_of(folder, *options)
    places = {"lists": folder / "lists", "start": folder / "start.png", "word": folder / "word.safetensors"}
    places |= {
        "clear": folder / "clear.png",
        "seeing": folder / "seeing",
        "bent": folder / "bent.safetensors",
        "control": folder / "control.safetensors",
        "taesd": folder / "taesd.safetensors",
        "other": folder / "other.safetensors",
        "upscaler": folder / "2x.pth",
    }
    told = [option.format(**places) for option in options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "load", loaded)
        result = CliRunner().invoke(
            main, ["generate", PROMPT, "--model", str(folder / "model.safetensors"), "--device", "cpu",
                   "--seed", "3", "--out", str(out), "--overwrite", *told],
        )  # fmt: skip
    assert isinstance(result.exception, SystemExit | None), result.exception  # a refusal at most
    if result.exit_code:
        raise Refused(result.output)
    facts = read_facts(out)
    with Image.open(out) as image:
        return np.asarray(image).tobytes(), facts, infotext(facts)


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[bytes, Facts, str]:
    """Drawn without any option."""
    return drawn(folder)


def unless_refused(folder: Path, options: list[str]) -> tuple[bytes, Facts, str] | None:
    try:
        return drawn(folder, *options)
    except Refused:
        return None


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "ema"])
def test_an_option_that_changes_a_pixel_changes_both_texts_of_the_recipe(
    folder: Path, plain: tuple[bytes, Facts, str], name: str
) -> None:
    other = drawn(folder, *OPTIONS[name])
    if plain[0] != other[0]:
        assert plain[1] != other[1]
        assert plain[2] != other[2]
    assert plain[0] != other[0] or name in (
        "tiled",
        "without",
        "deterministic",
    )  # which change no more than rounding


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "ema"])
def test_a_picture_of_every_option_is_replayed_to_the_last_bit(folder: Path, name: str) -> None:
    drawn(folder, *OPTIONS[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "load", loaded)
        again = replay(file_of(folder, *OPTIONS[name]), models=[folder])
    assert again.same and not again.facts, again


@settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([name for name in OPTIONS if name != "ema"]), max_size=4, unique=True),
       st.lists(st.sampled_from([name for name in OPTIONS if name != "ema"]), max_size=4, unique=True))  # fmt: skip
def test_drawings_have_the_same_pixels_or_different_recipes(
    folder: Path, one: list[str], other: list[str]
) -> None:
    first, second = (
        unless_refused(folder, [word for name in names for word in OPTIONS[name]]) for names in (one, other)
    )
    if first and second and first[0] != second[0]:
        assert first[1] != second[1] and first[2] != second[2]


def test_another_start_is_another_recipe(folder: Path) -> None:
    facts = [drawn(folder, "--init", str(folder / name))[1:] for name in ("start.png", "other.png")]
    assert facts[0][0].init_hash != facts[1][0].init_hash
    assert f"Init image hash: {facts[0][0].init_hash}" in facts[0][1]


def test_averaged_weights_are_told(tiny: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    averaged = replace(pipeline, loaded=replace(pipeline.loaded, ema=True))
    plan = pipeline.plan(Request("a raven", seeds=(1,)))
    assert averaged.facts(plan, 1) == replace(pipeline.facts(plan, 1), ema=True)
    assert "EMA weights: True" in infotext(averaged.facts(plan, 1))


def test_a_models_own_noise_schedule_is_told(pipeline: Pipeline) -> None:
    schedule = NoiseSchedule(beta_start=0.0001, beta_end=0.02, curve="linear")
    plan = pipeline.plan(Request("a raven", seeds=(1,)))
    facts = replace(pipeline, schedule=schedule).facts(plan, 1)
    assert facts.noise_schedule == "linear, beta 0.0001 to 0.02, 1000 steps"
    assert 'Noise schedule: "linear, beta 0.0001 to 0.02, 1000 steps"' in infotext(facts)
    assert schedule_in_words(NoiseSchedule(zero_snr=True)) is None
    assert Facts.from_json(facts.to_json()) == facts


def test_a_folders_path_is_not_written_into_the_picture(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "secret" / "fine-tune"
    home.parent.mkdir()
    assert CliRunner().invoke(main, ["convert", str(tiny), str(home)]).exit_code == 0
    pipeline = Pipeline.load(home, device="cpu")
    assert pipeline.name == "fine-tune"
    facts = pipeline.facts(pipeline.plan(Request("a raven", seeds=(1,))), 1)
    assert "secret" not in facts.to_json() + infotext(facts)
