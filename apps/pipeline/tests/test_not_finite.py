"""Numbers that are not finite are found where they arise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from inkpunk import Control, Pipeline, Request
from inkpunk.cli import main
from inkpunk.memory.precision import NotFiniteError
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk_weights import CheckpointError, LowRank, open_checkpoint, save_checkpoint, save_lora
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

REQUEST = Request("a raven", seeds=(1,), steps=3)
PLACES = {  # a weight of each stage, and what it is called when it is damaged
    "text_encoder": ("layers.1.feed_forward.fc2.bias", "text encoder"),
    "unet": ("conv_out.bias", "UNet, step 1"),
    "vae": ("decoder.conv_out.bias", "VAE decoder"),
}
OVERFLOWS = {  # a layer whose results, were its weights as large as float16 has them, float16 cannot hold
    "text encoder": ("text_encoder", "layers.1.feed_forward.fc2"),  # and what comes after it is normalized
    "UNet, step 1": ("unet", "conv_in"),
    "VAE encoder": ("vae", "encoder.conv_in"),
    "VAE decoder": ("vae", "decoder.conv_in"),
}


@pytest.fixture
def damaged(tiny: Path, tmp_path: Path) -> Callable[[str, float], Path]:
    """Write the tiny model with one number of a component changed."""

    def write(component: str, number: float) -> Path:
        checkpoint = open_checkpoint(tiny)
        parts: dict[str, dict[str, Tensor]] = {name: dict(getattr(checkpoint, name)) for name in PLACES}
        name = PLACES[component][0]
        parts[component][name] = parts[component][name].clone().index_fill_(0, torch.tensor([0]), number)
        path = tmp_path / "damaged.safetensors"
        metadata = {key: str(value) for key, value in checkpoint.metadata.items()}
        save_checkpoint(path, **parts, metadata=metadata)
        return path

    return write


@pytest.mark.parametrize("component", PLACES)
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_the_stage_is_named_before_more_work_is_done(
    damaged: Callable[[str, float], Path], component: str, number: float
) -> None:
    pipeline = Pipeline.load(damaged(component, number), device="cpu")
    steps: list[int] = []
    with pytest.raises(NotFiniteError, match=rf"{PLACES[component][1]}: gave .* float32: a damaged weight"):
        for step in pipeline.run(REQUEST):
            steps.append(step.index)
        pipeline.pictures(REQUEST, step.latents)
    assert steps == ([1, 2, 3] if component == "vae" else [])


def test_the_vaes_encoder_is_named_too(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu")
    with pipeline.vae.awake() as vae:
        vae.encoder.conv_in.bias.fill_(torch.nan)
    init = Image.new("RGB", (64, 64))
    with pytest.raises(NotFiniteError, match="VAE encoder"):
        next(pipeline.run(Request("a raven", seeds=(1,), init=init)))


def test_the_command_line_says_it_in_one_line(damaged: Callable[[str, float], Path], tmp_path: Path) -> None:
    path = damaged("unet", float("nan"))
    result = CliRunner().invoke(
        main, ["generate", "a raven", "--model", str(path), "--out", str(tmp_path / "x.png")]
    )
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: UNet, step 1: gave numbers that are not finite")
    assert not (tmp_path / "x.png").exists()


@pytest.fixture
def following(tiny: Path, control_net: Path, tmp_path: Path) -> Callable[[float], tuple[Request, Path]]:
    """A request that follows a hint, and its network of which one number was changed."""

    def write(number: float) -> tuple[Request, Path]:
        tensors = load_file(control_net)
        name = next(each for each in tensors if each.endswith("middle_block_out.0.bias"))
        tensors[name][0] = number
        with safe_open(control_net, "pt") as opened:
            save_file(tensors, tmp_path / "lines.safetensors", opened.metadata())
        hint = Image.radial_gradient("L").resize((64, 64))
        return replace(REQUEST, controls=[Control("pose", hint, ready=True)]), tmp_path / "lines.safetensors"

    return write


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_control_network_is_named_and_not_the_unet(
    tiny: Path, following: Callable[[float], tuple[Request, Path]], number: float
) -> None:
    request, net = following(number)
    pipeline = Pipeline.load(tiny, device="cpu", control_nets={"pose": net})
    with pytest.raises(NotFiniteError, match=r"^control network lines: gave .* float32: a damaged weight"):
        next(pipeline.run(request))


def test_a_control_network_that_overflows_in_float16_is_asked_again_in_float32(
    tiny: Path, following: Callable[[float], tuple[Request, Path]], caplog: pytest.LogCaptureFixture
) -> None:
    request, net = following(0.0)
    half, full = (
        Pipeline.load(tiny, device="cpu", dtype=dtype, control_nets={"pose": net})
        for dtype in ("float16", "float32")
    )
    nets = [pipeline.control_nets.of("pose").network for pipeline in (half, full)]
    with nets[0].awake() as narrow, nets[1].awake() as wide:
        first, last = (narrow.hint.convolutions[place].weight for place in (0, -1))
        first.copy_(first.float() * 6e4 / first.abs().max())
        last.copy_(last.float() * 1e-4)  # so that what it tells in the end is as small as ever
        wide.load_state_dict({key: tensor.float() for key, tensor in narrow.state_dict().items()})
    *_, told = half.run(request)
    *_, expected = full.run(request)
    assert {*caplog.messages} == {"control network lines: overflows in float16, and is done again in float32"}
    torch.testing.assert_close(
        told.latents, expected.latents, rtol=0, atol=0.1
    )  # the UNet's rounding in float16, on latents of 2


@pytest.mark.parametrize("kind", ["control network", "image prompt", "tiny autoencoder", "adapter"])
def test_what_is_not_finite_is_found_in_every_kind_of_file(
    control_net: Path, image_prompts: Path, tiny_vae: Path, tmp_path: Path, kind: str
) -> None:
    lora = tmp_path / "ink.safetensors"
    save_lora(
        lora, unet={"down.0.resnets.0.conv1": LowRank(torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1), 2.0)}
    )
    files = {
        "control network": control_net,
        "image prompt": image_prompts / "plain.safetensors",
        "tiny autoencoder": tiny_vae,
        "adapter": lora,
    }
    sound = CliRunner().invoke(main, ["inspect", str(files[kind]), "--finite"])
    assert sound.exit_code == 0 and "problem" not in sound.output
    tensors = load_file(files[kind])
    next(each for each in tensors.values() if each.ndim > 1).view(-1)[0] = torch.nan
    save_file(tensors, tmp_path / "damaged.safetensors")
    told = CliRunner().invoke(main, ["inspect", str(tmp_path / "damaged.safetensors"), "--finite"])
    assert told.exit_code == 1 and told.output.count("holds NaN or infinity: ") == 1
    assert CliRunner().invoke(main, ["inspect", str(tmp_path / "damaged.safetensors")]).exit_code == 0


@pytest.mark.thorough
@pytest.mark.parametrize("stage", OVERFLOWS)
def test_what_overflows_in_float16_is_done_again_in_float32(
    tiny: Path, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    component, layer = OVERFLOWS[stage]
    half, full = (Pipeline.load(tiny, device="cpu", dtype=dtype) for dtype in ("float16", "float32"))
    with getattr(half, component).awake() as narrow, getattr(full, component).awake() as wide:
        weight = narrow.get_submodule(layer).weight
        weight.copy_(weight.float() * 6e4 / weight.abs().max())
        wide.load_state_dict({key: tensor.float() for key, tensor in narrow.state_dict().items()})
    init = Image.radial_gradient("L").convert("RGB").resize((64, 64)) if stage == "VAE encoder" else None
    request = replace(REQUEST, init=init)
    steps = list(half.run(request))
    [picture] = half.pictures(request, steps[-1].latents)
    [expected] = full.pictures(request, steps[-1].latents)
    assert {*caplog.messages} == {f"{stage}: overflows in float16, and is done again in float32"}
    assert [step.index for step in steps] == list(range(1, len(steps) + 1))
    if stage == "VAE decoder":
        assert picture.image.tobytes() == expected.image.tobytes()
    if stage == "VAE encoder":
        image, noise = image_to_tensor(init)[None], torch.zeros(1, 4, 8, 8)
        assert torch.equal(half.encode(image, noise), full.encode(image, noise))
    if stage == "UNet, step 1":  # its context is float16's
        *_, last = full.run(request)
        torch.testing.assert_close(steps[-1].latents, last.latents, rtol=0, atol=5e-3)
    if stage == "text encoder":
        both = [pipeline.encode_prompts(["a raven"]).float() for pipeline in (half, full)]
        torch.testing.assert_close(*both, rtol=2**-11, atol=1e-7)  # float16's rounding


def test_an_accelerators_last_step_is_done_again_from_the_first(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", dtype="float16")
    plan = pipeline.plan(REQUEST)
    road = pipeline.road(plan)
    whole = [*pipeline.sampled(plan, road.denoise(road.predict), road.start())]
    broken = [*whole[:-1], replace(whole[-1], latents=whole[-1].latents * torch.nan)]
    with pipeline.unet.awake() as unet:
        steps = list(pipeline._finite_steps(plan, iter(broken), unet))
    assert [step.index for step in steps] == [1, 2, 3]
    torch.testing.assert_close(
        steps[-1].latents, whole[-1].latents, rtol=0, atol=0.1
    )  # float16's rounding, on latents of 2


@pytest.mark.parametrize("settings", [{"low_memory": True}, {"dtype": "float16"}])
def test_a_weight_beyond_float16_is_refused_by_its_name(
    damaged: Callable[[str, float], Path], settings: dict[str, object]
) -> None:
    path = damaged("unet", 1e6)
    with pytest.raises(CheckpointError, match=r"conv_out.bias' holds 1e\+06, and float16 ends at 65504"):
        Pipeline.load(path, device="cpu", **settings).generate(REQUEST)
    out = path.parent / "half.safetensors"
    result = CliRunner().invoke(main, ["convert", str(path), str(out), "--dtype", "float16"])
    assert result.exit_code == 1 and "holds 1e+06, and float16 ends at 65504" in result.output
    Pipeline.load(path, device="cpu", dtype="bfloat16")
