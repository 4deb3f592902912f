"""Image prompts: read, seen, drawn by; refused in words where they cannot be."""

import copy
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from inkpunk import Control, ImagePrompt, Lora, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.pictures.pixels import image_hash
from inkpunk.pictures.png_text import infotext
from inkpunk.road.image_prompts import ImagePromptError
from inkpunk.road.trace import trace
from inkpunk.speed import PLAIN, Speed
from inkpunk.speed.memo import Memo
from inkpunk_weights import CheckpointError, LowRank, save_lora
from inkpunk_winograd import Inner, changes, wrap
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), steps=2, width=64, height=64)
ADAPTERS = ("plain", "plus")


def picture(colour: str = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A disc."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((4, 4, size[0] - 4, size[1] - 4), fill=colour)
    return image


RED = [ImagePrompt(picture(), 0.6)]


@pytest.fixture(scope="module")
def seeing(tiny: Path, image_prompts: Path, control_net: Path) -> dict[str, Pipeline]:
    """The tiny model with each image prompt."""
    return {
        kind: Pipeline.load(
            tiny, device="cpu", ip_adapter=image_prompts / f"{kind}.safetensors", control_nets={"canny": control_net}
        )
        for kind in ADAPTERS
    }  # fmt: skip


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    *_, last = pipeline.run(request)
    return last.latents


def alike(one: Tensor, other: Tensor) -> bool:
    """To what float32 sums round; pictures differ by far more."""
    return torch.allclose(one, other, atol=1e-4)


# -- What is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("style.png", ImagePrompt("style.png")),
        ("style.png:0.6", ImagePrompt("style.png", 0.6)),
        ("C:\\me\\d.png:-.5", ImagePrompt("C:\\me\\d.png", -0.5)),
        ("12:00.png", ImagePrompt("12:00.png")),
    ],
)
def test_an_image_prompt_is_read(text: str, expected: ImagePrompt) -> None:
    assert ImagePrompt.read(text) == expected


def test_a_name_that_ends_as_a_weight_would_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture().save(tmp_path / "style:0.5", "PNG")
    assert ImagePrompt.read("style:0.5") == ImagePrompt("style:0.5")


@pytest.mark.parametrize("weight", [float("nan"), 101.0, float("-inf")])
def test_weights_that_cannot_be_are_refused(weight: float) -> None:
    with pytest.raises(ImagePromptError, match=r"^image prompt: weight .* 0\.5 to 1 is usual"):
        ImagePrompt("style.png", weight)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (["nowhere.png:0.5"], r"^image prompt nowhere\.png: no such file"),
        ([""], r"^image prompt '': is not PICTURE or PICTURE:WEIGHT, as style\.png:0\.6"),
        (["style.png:200"], r"^image prompt: weight 200 cannot be"),
        ([None], r"^image prompt: has no picture"),
        ([3], r"^image prompt: must be a picture of Pillow's or the path of one, not int"),
        ("style.png", r"^image prompts: must be a list, as "),
    ],
)
def test_what_is_no_image_prompt_is_refused(asked: object, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        replace(REQUEST, image_prompts=asked)


def test_a_trace_refuses_what_it_would_not_draw(pipeline: Pipeline) -> None:
    with pytest.raises(RequestError, match=r"it takes no image prompt$"):
        next(trace(pipeline, replace(REQUEST, image_prompts=RED)))


def test_a_picture_too_long_to_see_is_refused(seeing: dict[str, Pipeline]) -> None:
    with pytest.raises(RequestError, match=r"^image prompt: an image of 8x600 pixels is more than 64 times"):
        latents(seeing["plain"], replace(REQUEST, image_prompts=[Image.new("RGB", (600, 8))]))


# -- Drawing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ADAPTERS)
def test_pictures_act_each_its_own_way_and_leave_no_trace(kind: str, seeing: dict[str, Pipeline]) -> None:
    pipeline = seeing[kind]
    before = latents(pipeline, REQUEST)
    tensors = {name: tensor.clone() for name, tensor in pipeline.unet.tensors.items()}
    drawn = [latents(pipeline, replace(REQUEST, image_prompts=each)) for each in (
        RED,
        [ImagePrompt(picture(), 1.0)],
        [ImagePrompt(picture("blue"), 0.6)],
        [ImagePrompt(picture(), 0.6), ImagePrompt(picture("blue"), 0.6)],
        [ImagePrompt(picture(), 0.6), ImagePrompt(picture("blue"), 0.9)],
    )]  # fmt: skip
    every = [before, *drawn]
    assert not any(alike(one, other) for i, one in enumerate(every) for other in every[:i])
    assert torch.equal(latents(pipeline, replace(REQUEST, image_prompts=RED)), drawn[0])
    # off again, and at weight 0, it is as it was, to the bit
    assert {*tensors} == {*pipeline.unet.tensors}
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in pipeline.unet.tensors.items())
    assert torch.equal(latents(pipeline, REQUEST), before)
    assert torch.equal(
        latents(pipeline, replace(REQUEST, image_prompts=[ImagePrompt(picture(), 0.0)])), before
    )


def test_a_picture_of_weight_0_is_none_beside_others_too(seeing: dict[str, Pipeline]) -> None:
    both = replace(REQUEST, image_prompts=[*RED, ImagePrompt(picture("blue"), 0.0)])
    assert torch.equal(
        latents(seeing["plain"], both), latents(seeing["plain"], replace(both, image_prompts=RED))
    )


def test_the_same_picture_twice_at_one_weight_is_that_picture(seeing: dict[str, Pipeline]) -> None:
    """All pictures share one softmax: two do not count for more than one."""
    twice = replace(REQUEST, image_prompts=RED * 2)
    assert alike(latents(seeing["plus"], twice), latents(seeing["plus"], replace(REQUEST, image_prompts=RED)))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_fast_ways_change_nothing_but_rounding(
    kind: str, tiny: Path, image_prompts: Path, seeing: dict[str, Pipeline]
) -> None:
    file = image_prompts / f"{kind}.safetensors"
    plain = Pipeline.load(tiny, device="cpu", ip_adapter=file, speed=PLAIN)
    request = replace(REQUEST, image_prompts=RED)
    assert torch.allclose(latents(plain, request), latents(seeing[kind], request), atol=1e-3)


def test_keys_and_values_are_computed_from_the_same_tensors_at_all_steps(seeing: dict[str, Pipeline]) -> None:
    """So that the memo of each has them; both halves of the context."""
    pipeline, given = seeing["plain"], list[Tensor]()

    def record(layer: torch.nn.Module, inner: Inner, tokens: Tensor) -> Tensor:
        given.append(tokens)
        return inner(layer, tokens)

    request = replace(REQUEST, steps=3, image_prompts=[ImagePrompt(picture("green"), 0.37)])
    with pipeline.unet_for(pipeline.plan(request)).awake() as unet:
        layers = (unet.picture_keys[0], unet.down[0].attentions[0].block.cross_attention.key)
        for layer in layers:
            assert any(isinstance(each, Memo) for each in changes(layer))
            wrap(layer, record)
    latents(pipeline, request)
    assert len(given) == 6
    assert len({id(each) for each in given}) == 2


def bent(pipeline: Pipeline, folder: Path) -> Path:
    change = LowRank(torch.randn(2, 32, 3, 3), torch.randn(32, 2, 1, 1), alpha=1.0)
    save_lora(folder / "bent.safetensors", unet={"down.0.resnets.0.conv1": change}, overwrite=True)
    return folder / "bent.safetensors"


MEETINGS: dict[str, Callable[[Request], Request]] = {
    "control": lambda request: replace(request, controls=[Control("canny", picture("black", (64, 64)))]),
    "init": lambda request: replace(request, init=picture("green", (96, 64)), strength=0.6, steps=5),
    "dpmpp_sde": lambda request: replace(request, sampler="dpmpp_sde"),
    "no guidance": lambda request: replace(request, guidance=1.0, negative_prompt=""),
    "AND": lambda request: replace(request, prompt="a raven AND a fox :0.5"),
    "AND without guidance": lambda request: replace(request, prompt="a raven AND a fox", guidance=1.0),
    "changing prompts": lambda request: replace(request, prompt="[raven:fox:0.5] [red|blue]"),
    "long prompt": lambda request: replace(request, prompt="raven, " * 60),
    "interval": lambda request: replace(request, guidance_interval=(0.3, 5.0)),
    "batch": lambda request: replace(request, seeds=(3, 4)),
    "blend": lambda request: replace(request, blend=("a fox", 0.5)),
    "variation": lambda request: replace(request, vary=(8, 0.5)),
    "texture": lambda request: replace(request, tileable="xy"),
    "choices": lambda request: replace(request, prompt="a {raven|fox|owl|cat|dog}", seeds=(3, 4, 5)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", MEETINGS)
def test_image_prompts_meet_every_other_feature(name: str, seeing: dict[str, Pipeline]) -> None:
    """Both act: the drawing is neither that of the one alone nor of the other."""
    pipeline, both = seeing["plain"], MEETINGS[name](replace(REQUEST, image_prompts=RED))
    drawn = latents(pipeline, both)
    assert not alike(drawn, latents(pipeline, replace(both, image_prompts=())))
    if len(both.seeds) == 1:
        assert not alike(drawn, latents(pipeline, replace(REQUEST, image_prompts=RED)))
    if len(both.seeds) > 1:  # each as it is by itself
        alone = torch.cat([latents(pipeline, replace(both, seeds=(seed,))) for seed in both.seeds])
        assert alike(drawn, alone)


def test_a_control_network_is_told_the_prompt_alone(
    seeing: dict[str, Pipeline],
) -> None:
    """And the very same tensor at each step, so that it remembers what it made of it."""
    pipeline, told = seeing["plain"], list[Tensor]()
    both = MEETINGS["control"](replace(REQUEST, image_prompts=RED, steps=2))
    net = pipeline.networks(pipeline.plan(both))[0].network
    with net.awake() as network:
        hook = network.register_forward_pre_hook(lambda _, inputs: told.append(inputs[2]))
        latents(pipeline, both)
        hook.remove()
    words = pipeline.encode_prompts(["owl", "a raven"])
    assert len(told) == 2
    assert told[0] is told[1]
    assert torch.equal(told[0], words)


def test_image_prompts_meet_adapters_given_and_tagged(seeing: dict[str, Pipeline], tmp_path: Path) -> None:
    pipeline, request = seeing["plain"], replace(REQUEST, image_prompts=RED)
    lora = bent(pipeline, tmp_path)
    changed = pipeline.with_adapters(Lora(lora))
    drawn = latents(changed, request)
    assert not alike(drawn, latents(changed, REQUEST))
    assert not alike(drawn, latents(pipeline, request))
    assert torch.equal(latents(changed.with_adapters(), request), latents(pipeline, request))
    tagged = replace(request, prompt="a raven<lora:bent:1>")
    assert alike(latents(replace(pipeline, lora_folder=tmp_path), tagged), drawn)


def alone_by_memory(pipeline: Pipeline, request: Request) -> int:
    """What image prompts add to the estimate, where the UNet is what takes most."""
    pipeline = replace(pipeline, text_encoder=pipeline.vae)
    plain = replace(request, image_prompts=())
    return pipeline.memory(pipeline.plan(request)) - pipeline.memory(pipeline.plan(plain))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("settings", [{"offload": True}, {"low_memory": True}, {"dtype": "bfloat16"}])
def test_image_prompts_work_wherever_the_model_does(
    kind: str, settings: dict[str, str | bool], tiny: Path, image_prompts: Path, seeing: dict[str, Pipeline]
) -> None:
    file = image_prompts / f"{kind}.safetensors"
    pipeline = Pipeline.load(tiny, device="cpu", ip_adapter=file, **settings)
    request = replace(REQUEST, image_prompts=RED)
    drawn, expected = latents(pipeline, request), latents(seeing[kind], request)
    if settings == {"offload": True}:
        assert torch.equal(drawn, expected)
        assert (
            alone_by_memory(pipeline, request)
            == pipeline.image_prompt(pipeline.plan(request)).network.bytes_to_move
        )
    # 16 bits round to a few per cent of what pictures do
    assert (drawn - expected).abs().mean() < (drawn - latents(pipeline, REQUEST)).abs().mean() / 2


def test_where_float16_overflows_pictures_are_seen_in_float32(
    tiny: Path, image_prompts: Path, seeing: dict[str, Pipeline], caplog: pytest.LogCaptureFixture
) -> None:
    """The copy in float32 of a UNet that sees pictures sees them."""
    pipeline, request = seeing["plain"], replace(REQUEST, image_prompts=RED)
    with pipeline.unet_for(pipeline.plan(request)).awake() as unet:
        twin = copy.deepcopy(unet)
    layer = twin.down[0].attentions[0].block.cross_attention
    [look] = [each for each in vars(layer)["forward"].changes if hasattr(each, "weights")]
    assert look.key is twin.picture_keys[0]
    assert look.key is not unet.picture_keys[0]
    half = Pipeline.load(tiny, device="cpu", dtype="float16", ip_adapter=image_prompts / "plain.safetensors")
    with half.unet.awake() as network:
        weight = network.conv_in.weight
        weight.copy_(weight.float() * 6e4 / weight.abs().max())
    drawn = latents(half, request)
    assert any("again in float32" in message for message in caplog.messages)
    assert drawn.isfinite().all()
    assert not torch.equal(drawn, latents(half, REQUEST))


def test_threads_with_and_without_pictures_do_not_see_each_others(seeing: dict[str, Pipeline]) -> None:
    pipeline = seeing["plus"]
    requests = [
        REQUEST,
        *(replace(REQUEST, image_prompts=[ImagePrompt(picture(), w)]) for w in (0.6, 0.9)),
    ] * 2
    expected = [latents(pipeline, request) for request in requests]
    with ThreadPoolExecutor(3) as pool:
        drawn = [*pool.map(lambda request: latents(pipeline, request), requests)]
    assert all(torch.equal(one, other) for one, other in zip(drawn, expected, strict=True))


def test_a_compiled_unet_sees_pictures_uncompiled(
    tiny: Path, image_prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compiled passes over what is laid around its layers."""

    def compiled(module: torch.nn.Module, **_: object) -> None:
        module._compiled_call_impl = module._call_impl

    monkeypatch.setattr(torch.nn.Module, "compile", compiled)  # the compiler takes seconds to load
    pipeline = Pipeline.load(
        tiny, device="cpu", ip_adapter=image_prompts / "plain.safetensors", speed=Speed(compile=True)
    )
    with pipeline.unet_for(pipeline.plan(replace(REQUEST, image_prompts=RED))).awake() as unet:
        assert unet._compiled_call_impl is None
    with pipeline.unet.awake() as unet:
        assert unet._compiled_call_impl is not None


# -- Files ---------------------------------------------------------------------------------------------------------


def refused(pipeline: Pipeline, pattern: str) -> None:
    with pytest.raises(CheckpointError, match=pattern):
        latents(pipeline, replace(REQUEST, image_prompts=RED))


def test_without_an_adapter_it_says_how_to_give_one(pipeline: Pipeline) -> None:
    refused(pipeline, r"^image prompt: this model has no adapter .* give one as --ip-adapter FILE")


def test_a_missing_encoder_is_asked_for(tiny: Path, image_prompts: Path, tmp_path: Path) -> None:
    alone = tmp_path / "plain.safetensors"
    alone.write_bytes((image_prompts / "plain.safetensors").read_bytes())
    refused(
        Pipeline.load(tiny, device="cpu", ip_adapter=alone), r"no image_encoder .* give .* --image-encoder"
    )
    encoder = image_prompts / "image_encoder"
    given = Pipeline.load(tiny, device="cpu", ip_adapter=alone, image_encoder=encoder)
    latents(given, replace(REQUEST, image_prompts=RED))


def test_an_adapter_for_another_model_is_refused(tiny: Path, image_prompts: Path, tmp_path: Path) -> None:
    tensors = load_file(image_prompts / "plain.safetensors")
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("ip_adapter"))
    fewer = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"ip_adapter.{last}.")}
    save_file(fewer, tmp_path / "fewer.safetensors")
    pipeline = Pipeline.load(tiny, device="cpu", ip_adapter=tmp_path / "fewer.safetensors")
    refused(pipeline, r"fewer\.safetensors: an image prompt for a UNet with .* made for another model")


def test_an_encoder_that_it_was_not_trained_with_is_refused(
    tiny: Path, image_prompts: Path, tmp_path: Path
) -> None:
    tensors = load_file(image_prompts / "image_encoder" / "model.safetensors")
    tensors["visual_projection.weight"] = torch.zeros(20, 32)
    save_file(tensors, tmp_path / "model.safetensors")
    told = json.loads((image_prompts / "image_encoder" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told))
    adapter = image_prompts / "plain.safetensors"
    pipeline = Pipeline.load(tiny, device="cpu", ip_adapter=adapter, image_encoder=tmp_path)
    refused(pipeline, r"projection\.weight, as we name it, is missing or not of \[24, 32\]")
    (tmp_path / "config.json").write_text(json.dumps(told | {"projection_dim": 20}))
    pipeline = Pipeline.load(tiny, device="cpu", ip_adapter=adapter, image_encoder=tmp_path)
    refused(pipeline, r"gives 20 numbers where .* reads 24; give the image encoder .* as --image-encoder")


# -- The command line ----------------------------------------------------------------------------------------------


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


def test_the_command_line_draws_by_a_picture_and_tells(
    tiny: Path, image_prompts: Path, tmp_path: Path
) -> None:
    picture().save(tmp_path / "style.png")
    code, output = run(
        "generate", "a raven", "--model", tiny, "--seed", 3, "--out", tmp_path / "drawn.png", "--device", "cpu",
        "--image-prompt", f"{tmp_path / 'style.png'}:0.6", "--ip-adapter", image_prompts / "plain.safetensors",
    )  # fmt: skip
    assert code == 0, output
    facts = read_facts(tmp_path / "drawn.png")
    assert facts.image_prompts == {"1": "0.6"}
    assert facts.image_prompt_hashes == {"1": image_hash(picture())}
    assert facts.image_prompt_nets["adapter"].startswith("plain [")
    assert re.fullmatch(r"image_encoder \[[0-9a-f]{10}\]", facts.image_prompt_nets["encoder"])
    assert f"Image prompts: 1: 0.6 {image_hash(picture())}, " in infotext(facts).replace('"', "")
    assert "IP-Adapter: adapter: plain [" in infotext(facts).replace('"', "")


def test_files_of_other_kinds_are_refused_with_the_option_they_belong_to(
    tiny: Path, image_prompts: Path, control_net: Path, tmp_path: Path
) -> None:
    picture().save(tmp_path / "style.png")
    adapter, encoder = (
        image_prompts / "plain.safetensors",
        image_prompts / "image_encoder" / "model.safetensors",
    )
    draw = (
        "generate",
        "a raven",
        "--device",
        "cpu",
        "--out",
        tmp_path,
        "--image-prompt",
        tmp_path / "style.png",
    )
    for options, belongs in (
        (("--model", tiny, "--ip-adapter", control_net), "--control-net"),
        (("--model", tiny, "--ip-adapter", tiny), "--model"),
        (("--model", tiny, "--ip-adapter", encoder), "--image-encoder"),
        (("--model", tiny, "--ip-adapter", adapter, "--image-encoder", adapter), "--ip-adapter"),
        (("--model", adapter), "--ip-adapter"),
        (("--model", tiny, "--lora", adapter), "--ip-adapter"),
        (("--model", encoder), "--image-encoder"),
    ):
        code, output = run(*draw, *options)
        assert code == 1, output
        assert output.strip().endswith(f"; give it as {belongs}"), output


@pytest.mark.parametrize("kind", ADAPTERS)
def test_inspect_tells_what_an_image_prompt_is(kind: str, image_prompts: Path) -> None:
    code, output = run("inspect", image_prompts / f"{kind}.safetensors")
    assert code == 0
    assert "an image prompt (IP-Adapter)" in output
    assert f"tokens        {2 if kind == 'plain' else 3} a picture, of width 32" in output


def test_another_adapter_looks_through_the_same_encoder(
    seeing: dict[str, Pipeline], image_prompts: Path
) -> None:
    request = replace(REQUEST, image_prompts=RED)
    plain, plus = (seeing[kind] for kind in ADAPTERS)
    before = latents(plain, request)
    other = plain.with_networks({}, image_prompts / "plus.safetensors")
    assert plain.image_prompts is not None and other.image_prompts is not None
    assert torch.equal(latents(other, request), latents(plus, request))
    assert other.image_prompts.opened.encoder is plain.image_prompts.opened.encoder
    assert torch.equal(latents(plain, request), before)
    with pytest.raises(CheckpointError, match=r"no adapter to see pictures with"):
        latents(other.with_networks(), request)
