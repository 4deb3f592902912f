"""Controls: read, fitted, made into hints, and followed; refused in words where they cannot be."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Control, Lora, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.pictures.hints import MAKERS, says_nothing
from inkpunk.pictures.png_text import infotext
from inkpunk.road.control import ControlError
from inkpunk.speed import PLAIN
from inkpunk_unet import T2IAdapter, T2IAdapterConfig
from inkpunk_weights import CheckpointError, LowRank, save_lora
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

REQUEST = Request("a raven", negative_prompt="owl", seeds=(3,), width=64, height=64)


def drawing(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A dark disc on white, which every maker of hints finds something in."""
    picture = Image.new("RGB", size, "white")
    width, height = size
    ImageDraw.Draw(picture).ellipse((width // 4, height // 4, 3 * width // 4, 3 * height // 4), fill="black")
    return picture


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T2I-Adapter for the tiny model, of grey hints, in diffusers' layout."""
    torch.manual_seed(4)
    network = T2IAdapter(T2IAdapterConfig(hint_channels=1, widths=(32, 64), layers=1))
    renamed = {
        name.replace("levels", "body").replace("conv_in", "in_conv" if name.startswith("levels") else "conv_in")
        .replace("blocks", "resnets").replace("conv1", "block1").replace("conv2", "block2"): tensor
        for name, tensor in network.state_dict().items()
    }  # fmt: skip
    path = tmp_path_factory.mktemp("adapter") / "tiny-adapter.safetensors"
    save_file({f"adapter.{name}": tensor for name, tensor in renamed.items()}, path)
    return path


@pytest.fixture(scope="module")
def controlled(tiny: Path, control_net: Path, adapter: Path) -> Pipeline:
    return Pipeline.load(tiny, device="cpu", control_nets={"canny": control_net, "sketch": adapter})


def latents(pipeline: Pipeline, request: Request) -> Tensor:
    *_, last = pipeline.run(request)
    return last.latents


# -- What is asked for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("canny:photo.png", Control("canny", "photo.png")),
        ("canny:photo.png:0.9", Control("canny", "photo.png", 0.9)),
        ("tile:a b.png:0-0.6", Control("tile", "a b.png", 1.0, 0.0, 0.6)),
        ("depth:C:\\me\\d.png:-.5:.25-1", Control("depth", "C:\\me\\d.png", -0.5, 0.25, 1.0)),
        ("canny:12:00.png", Control("canny", "12:00.png")),
    ],
)
def test_a_control_is_read(text: str, expected: Control) -> None:
    assert Control.read(text) == expected


@pytest.mark.parametrize("text", ["photo.png", ":photo.png", "canny:", "", "canny"])
def test_what_is_no_control_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ControlError, match=r"is not KIND:PICTURE, .* as canny:photo\.png:0\.9:0-0\.6"):
        Control.read(text)


def test_a_name_that_ends_as_a_weight_would_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawing().save(tmp_path / "lines:0.5", "PNG")
    assert Control.read("canny:lines:0.5") == Control("canny", "lines:0.5")


@pytest.mark.parametrize("numbers", [{"weight": float("nan")}, {"start": 0.6, "end": 0.2}, {"end": 1.5}])
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ControlError, match=r"^control canny: (weight|steps) "):
        Control("canny", "photo.png", **numbers)


@given(st.integers(1, 60), st.data())
def test_parts_of_the_steps_share_them_out(steps: int, data: st.DataObject) -> None:
    """Of two parts that meet at a step's end each step is in one; and all of them are in the whole."""
    cut = data.draw(st.integers(1, steps)) / steps
    whole, early = Control("tile", "x"), Control("tile", "x", end=cut)
    assert all(whole.acts_at(step, steps) for step in range(steps))
    if cut < 1:
        late = Control("tile", "x", start=cut)
        assert all(early.acts_at(step, steps) != late.acts_at(step, steps) for step in range(steps))


# -- Hints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=10, deadline=None)
@given(width=st.integers(8, 96), height=st.integers(8, 96))
def test_a_hint_is_rgb_of_its_pictures_size(kind: str, width: int, height: int) -> None:
    hint = MAKERS[kind](drawing((width, height)))
    assert (hint.mode, hint.size) == ("RGB", (width, height))


def test_lines_are_where_the_picture_has_them() -> None:
    """White at the disc's rim and black elsewhere: thin edges, soft ones, strokes on its dark side."""
    distance = np.hypot(*(np.indices((128, 128)) - 63.5)) - 32
    for kind, near in (("canny", 3), ("softedge", 6), ("scribble", 16)):
        lines = np.asarray(MAKERS[kind](drawing((128, 128))))[..., 0] > 127
        assert lines.any()
        assert (abs(distance[lines]) < near).all()
        angles = np.arctan2(*(np.argwhere(lines) - 63.5).T)
        assert len(np.unique(np.floor(angles * 8 / np.pi))) == 16  # all around


@pytest.mark.parametrize("kind", ["canny", "softedge", "scribble"])
def test_a_hint_that_says_nothing_is_refused(kind: str, controlled: Pipeline) -> None:
    request = replace(REQUEST, controls=[Control(kind, Image.new("RGB", (64, 64), "red"))])
    with pytest.raises(
        RequestError, match=rf"^control {kind}: its hint is all black, so that there is nothing"
    ):
        controlled.plan(request)
    assert says_nothing(Image.new("RGB", (8, 8)))


@pytest.mark.parametrize(
    ("control", "complaint"),
    [
        (Control("openpose", drawing()), "control openpose: a hint of this kind is not made here, only canny, "),
        (Control("depth", Image.effect_noise((64, 64), 9).convert("HSV").convert("RGB")), "nothing to follow"),
        (Control("depth", Image.merge("RGB", [drawing().getchannel(0), *[Image.new("L", (64, 64))] * 2])),
         "control depth: the picture is in colour, and depth is not guessed here"),
        (Control("canny", "nowhere.png"), "control canny nowhere.png: no such file"),
        (Control("canny", Image.new("RGB", (64, 64)), ready=True), "hint canny: its hint is all black"),
        (Control("canny", drawing(), start=0.4, end=0.5), "no one of 3 steps lies within 0.4-0.5"),
    ],
)  # fmt: skip
def test_a_control_that_cannot_be_followed_is_refused(
    control: Control, complaint: str, controlled: Pipeline
) -> None:
    if complaint == "nothing to follow":
        control = replace(control, picture=Image.new("RGB", (64, 64), "gray"))
    with pytest.raises(RequestError) as refusal:
        controlled.plan(replace(REQUEST, controls=[control]))
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@settings(max_examples=12, deadline=None)
@given(st.integers(9, 120), st.integers(9, 120))
def test_hints_are_fitted_as_pictures_to_start_from_are(
    controlled: Pipeline, width: int, height: int
) -> None:
    """Without a size the drawing has the first one's shape; every hint covers it."""
    picture = drawing((width, height))
    asked = Request(
        "a raven", seeds=(3,), controls=[Control("canny", picture), Control("sketch", picture, ready=True)]
    )
    started = replace(asked, controls=(), init=picture)
    assert controlled.size(asked) == controlled.size(started)
    assert {hint.size for hint in controlled.plan(asked).hints} == {controlled.size(asked)}


# -- What is drawn -------------------------------------------------------------------------------------------------


def test_a_drawing_follows_and_a_weight_of_nothing_does_not(controlled: Pipeline) -> None:
    plain = latents(controlled, REQUEST)
    for kind in ("canny", "sketch"):
        with_it = replace(REQUEST, controls=[Control(kind, drawing(), ready=True)])
        without = replace(REQUEST, controls=[Control(kind, drawing(), weight=0.0, ready=True)])
        assert (latents(controlled, with_it) - plain).abs().max() > 1e-2
        assert torch.equal(latents(controlled, without), plain)


def test_controls_add_up_in_any_order(controlled: Pipeline) -> None:
    one, other = Control("canny", drawing(), 0.5), Control("sketch", drawing(), 0.7, ready=True)
    there, back = (replace(REQUEST, controls=each) for each in ([one, other], [other, one]))
    assert torch.allclose(latents(controlled, there), latents(controlled, back), atol=1e-4)  # sums round
    assert not torch.allclose(
        latents(controlled, there), latents(controlled, replace(REQUEST, controls=[one]))
    )


def test_a_control_counts_at_its_steps_alone(controlled: Pipeline) -> None:
    """Until it begins, the steps are those without it."""
    late = replace(REQUEST, steps=4, controls=[Control("canny", drawing(), start=0.5)])
    steps = zip(controlled.run(late), controlled.run(replace(REQUEST, steps=4)), strict=True)
    assert [torch.equal(one.latents, other.latents) for one, other in steps] == [True, True, False, False]


@pytest.mark.parametrize("kind", ["canny", "sketch"])
def test_a_hint_is_read_once(kind: str, controlled: Pipeline) -> None:
    """Whatever the steps, and however many rows each has."""
    assert controlled.control_nets is not None
    calls = list[int]()
    with controlled.control_nets.of(kind).network.awake() as network:
        first = network.hint if kind == "canny" else network.conv_in
        hook = first.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape[0]))
    control = Control(kind, drawing(), ready=True)
    latents(controlled, replace(REQUEST, steps=4, controls=[control], guidance_interval=(0.3, 5.0)))
    hook.remove()
    assert calls == [1]


def test_after_a_control_the_pipeline_is_as_it_was(controlled: Pipeline) -> None:
    before = latents(controlled, REQUEST)
    tensors = {name: tensor.clone() for name, tensor in controlled.unet.tensors.items()}
    latents(controlled, replace(REQUEST, controls=[Control("canny", drawing())], guess=True))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in controlled.unet.tensors.items())
    assert torch.equal(latents(controlled, REQUEST), before)


def test_other_networks_take_the_place_of_those_before(
    controlled: Pipeline, control_net: Path, adapter: Path
) -> None:
    request = replace(REQUEST, controls=[Control("canny", drawing())])
    before = latents(controlled, request)
    other = controlled.with_networks({"canny": adapter})
    assert (other.unet, other.text_encoder) == (controlled.unet, controlled.text_encoder)  # nothing is loaded
    assert not torch.allclose(latents(other, request), before)
    for each in (controlled, other.with_networks({"canny": control_net})):
        assert torch.equal(latents(each, request), before)


def test_a_network_that_is_told_again_stays_open(
    controlled: Pipeline, control_net: Path, adapter: Path
) -> None:
    assert controlled.control_nets is not None
    open_net = controlled.control_nets.of("canny")
    more = controlled.with_networks({"canny": control_net, "lines": adapter})
    assert more.control_nets is not None
    assert more.control_nets.of("canny") is open_net
    assert more.with_adapters().with_networks_of(controlled).control_nets is controlled.control_nets
    with pytest.raises(CheckpointError, match=r"^control sketch: this model has no network for it"):
        more.control_nets.of("sketch")


def test_textures_follow_other_networks_too(controlled: Pipeline, adapter: Path) -> None:
    request = replace(REQUEST, controls=[Control("canny", drawing())])
    told = controlled.with_networks({"canny": adapter})
    around = latents(told, replace(request, tileable="x"))
    circular = controlled.for_textures("x").with_networks({"canny": adapter})
    assert torch.equal(latents(circular, request), around)


def test_a_model_made_by_hand_takes_no_networks(controlled: Pipeline) -> None:
    with pytest.raises(RequestError, match=r"made by hand"):
        replace(controlled, control_nets=None).with_networks()


@pytest.mark.parametrize("kind", ["canny", "sketch"])
@pytest.mark.parametrize("guess", [False, True])
def test_the_fast_ways_change_nothing_but_rounding(
    kind: str, guess: bool, tiny: Path, control_net: Path, adapter: Path, controlled: Pipeline
) -> None:
    nets = {"canny": control_net, "sketch": adapter}
    plain = Pipeline.load(tiny, device="cpu", control_nets=nets, speed=PLAIN)
    request = replace(REQUEST, controls=[Control(kind, drawing(), ready=True)], guess=guess)
    assert torch.allclose(latents(plain, request), latents(controlled, request), atol=1e-3)


def bent(pipeline: Pipeline, folder: Path) -> Pipeline:
    change = LowRank(torch.randn(2, 32, 3, 3), torch.randn(32, 2, 1, 1), alpha=1.0)
    save_lora(folder / "bent.safetensors", unet={"down.0.resnets.0.conv1": change}, overwrite=True)
    return pipeline.with_adapters(Lora(folder / "bent.safetensors"))


MEETINGS: dict[str, Callable[[Request], Request]] = {
    "init": lambda request: replace(request, init=drawing((96, 64)), strength=0.6, steps=5),
    "heun": lambda request: replace(request, sampler="heun"),
    "dpmpp_sde": lambda request: replace(request, sampler="dpmpp_sde"),
    "lcm": lambda request: replace(request, sampler="lcm", guidance=1.0, negative_prompt=""),
    "AND": lambda request: replace(request, prompt="a raven AND a fox :0.5"),
    "changing prompts": lambda request: replace(request, prompt="[raven:fox:0.5] [red|blue]"),
    "interval": lambda request: replace(request, guidance_interval=(0.3, 5.0)),
    "batch": lambda request: replace(request, seeds=(3, 4)),
    "blend": lambda request: replace(request, blend=("a fox", 0.5)),
    "variation": lambda request: replace(request, vary=(8, 0.5)),
    "texture": lambda request: replace(request, tileable="xy"),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "guess"), [*((name, False) for name in MEETINGS), ("AND", True), ("batch", True), ("lcm", True)]
)
def test_controls_meet_every_other_feature(name: str, guess: bool, controlled: Pipeline) -> None:
    """Both act: the drawing is neither that of the one alone nor of the other."""
    control = [Control("canny", drawing(), 0.8)]
    both = MEETINGS[name](replace(REQUEST, controls=control, guess=guess))
    drawn = latents(controlled, both)
    assert not torch.allclose(drawn, latents(controlled, replace(both, controls=(), guess=False)), atol=1e-3)
    alone = replace(REQUEST, controls=control, guess=guess)
    if name != "batch":
        assert not torch.allclose(drawn, latents(controlled, alone), atol=1e-3)
    else:  # each as it is by itself, to what float32 sums round
        assert torch.allclose(drawn[:1], latents(controlled, alone), atol=1e-4)


def test_controls_meet_adapters(controlled: Pipeline, tmp_path: Path) -> None:
    request = replace(REQUEST, controls=[Control("canny", drawing())])
    changed = bent(controlled, tmp_path)
    drawn = latents(changed, request)
    assert not torch.allclose(drawn, latents(changed, REQUEST), atol=1e-3)
    assert not torch.allclose(drawn, latents(controlled, request), atol=1e-3)
    assert torch.equal(latents(changed.with_adapters(), request), latents(controlled, request))


@pytest.mark.parametrize("settings", [{"offload": True}, {"low_memory": True}, {"dtype": "bfloat16"}])
def test_controls_work_wherever_the_model_does(
    settings: dict[str, str | bool], tiny: Path, control_net: Path, controlled: Pipeline
) -> None:
    nets = {"canny": control_net}
    pipeline = Pipeline.load(tiny, device="cpu", control_nets=nets, **settings)
    request = replace(REQUEST, controls=[Control("canny", drawing())])
    drawn = latents(pipeline, request)
    assert drawn.isfinite().all()
    if settings == {"offload": True}:
        assert torch.equal(drawn, latents(controlled, request))
    assert not torch.allclose(drawn, latents(pipeline, REQUEST), atol=1e-3)


# -- Networks ------------------------------------------------------------------------------------------------------


def test_a_kind_without_a_network_says_how_to_give_one(controlled: Pipeline) -> None:
    with pytest.raises(
        CheckpointError, match=r"^control tile: this model has no network .* --control-net tile=FILE$"
    ):
        controlled.generate(replace(REQUEST, controls=[Control("tile", drawing())]))


def test_a_network_for_another_model_is_refused(tiny: Path) -> None:
    import inkpunk_sketch

    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"canny": inkpunk_sketch.controls()["canny"]})
    with pytest.raises(
        CheckpointError, match=r"with 64, 128, 192 channels .* this model's has 32, 64; it was made"
    ):
        pipeline.generate(replace(REQUEST, controls=[Control("canny", drawing())]))


def test_a_network_with_a_part_missing_is_refused(tiny: Path, control_net: Path, tmp_path: Path) -> None:
    tensors = load_file(control_net)
    del tensors["control_model.zero_convs.1.0.bias"]
    save_file(
        tensors, tmp_path / "part.safetensors", {"inkpunk.config": json.dumps({"control": {"groups": 8}})}
    )
    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"canny": tmp_path / "part.safetensors"})
    with pytest.raises(
        CheckpointError, match=r"1 of a ControlNet's \d+ tensors .* first zero_convs\.1\.bias"
    ):
        pipeline.generate(replace(REQUEST, controls=[Control("canny", drawing())]))


def test_half_an_adapter_is_refused_in_words(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    tensors = load_file(adapter)
    del tensors["adapter.conv_in.weight"]
    save_file(tensors, tmp_path / "half.safetensors")
    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"sketch": tmp_path / "half.safetensors"})
    with pytest.raises(CheckpointError, match=r"half\.safetensors: .* not a T2I-Adapter's weights"):
        pipeline.generate(replace(REQUEST, controls=[Control("sketch", drawing(), ready=True)]))


# -- The command line ----------------------------------------------------------------------------------------------


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


def test_the_command_line_follows_saves_hints_and_tells(
    tiny: Path, control_net: Path, tmp_path: Path
) -> None:
    drawing((80, 60)).save(tmp_path / "photo.png")
    code, output = run(
        "generate", "a raven", "--model", tiny, "--seed", 3, "--out", tmp_path / "drawn.png", "--device", "cpu",
        "--control", f"canny:{tmp_path / 'photo.png'}:0.9:0-0.7", "--control-net", f"canny={control_net}",
        "--save-hint", tmp_path / "hint.png",
    )  # fmt: skip
    assert code == 0, output
    facts = read_facts(tmp_path / "drawn.png")
    assert facts.controls == {"canny": "0.9:0-0.7"}
    assert facts.control_nets["canny"].startswith("tiny-lines [")
    assert 'ControlNet 0: "Module: canny, Model: tiny-lines [' in infotext(facts)
    # the hint that was saved is what was followed
    code, output = run(
        "generate", "a raven", "--model", tiny, "--seed", 3, "--out", tmp_path / "again.png", "--device", "cpu",
        "--hint", f"canny:{tmp_path / 'hint.png'}:0.9:0-0.7", "--control-net", f"canny={control_net}",
    )  # fmt: skip
    assert code == 0, output
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / name)) for name in ("drawn.png", "again.png")))
    assert read_facts(tmp_path / "again.png").control_hints == facts.control_hints


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (["--control", "canny:{lora}"],
         "control canny {lora}: a file of weights, and no picture; the network of a kind"),
        (["--control", "canny:{photo}", "--control-net", "canny={photo}"],
         "{photo}: not a control network but a picture; give it as --control"),
        (["--control", "canny:{photo}", "--control-net", "canny={lora}"],
         "which `open_adapter` reads; give it as --lora"),
        (["--control", "canny:{photo}", "--control-net", "canny={tiny}"], "give it as --model"),
        (["--lora", "{net}"], "which `open_control` reads; give it as --control-net"),
        (["--control-net", "canny"], "'canny' is not KIND=FILE"),
        (["--control", "photo.png"], "control 'photo.png': is not KIND:PICTURE"),
        (["--guess"], "guess: changes nothing without a control"),
        (["--control", "canny:{photo}", "--control-net", "canny=nowhere.pth"], "nowhere.pth: no such file or folder"),
    ],
)  # fmt: skip
def test_each_mistaken_file_is_told_with_the_option_it_belongs_to(
    told: list[str], complaint: str, tiny: Path, control_net: Path, tmp_path: Path
) -> None:
    drawing().save(tmp_path / "photo.png")
    change = LowRank(torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1), alpha=1.0)
    save_lora(tmp_path / "lora.safetensors", unet={"down.0.resnets.0.conv1": change})
    places = {
        "photo": tmp_path / "photo.png",
        "lora": tmp_path / "lora.safetensors",
        "net": control_net,
        "tiny": tiny,
    }
    code, output = run(
        "generate", "x", "--model", tiny, "--device", "cpu", "--out", tmp_path / "drawn.png",
        *(each.format(**places) for each in told),
    )  # fmt: skip
    assert code
    assert complaint.format(**places) in output.replace("\n", " ")
    assert not (tmp_path / "drawn.png").exists()
