"""ControlNets and T2I-Adapters are the functions that diffusers' are, and steer a UNet as diffusers' do.

The weights travel as users' do: in a folder that diffusers saves, or a single file as its authors', which we read.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel, T2IAdapter, UNet2DConditionModel
from inkpunk_unet import (
    ControlNet,
    ControlNetConfig,
    Residuals,
    T2IAdapterConfig,
    UNet,
    UNetConfig,
    guess_weights,
)
from inkpunk_unet import T2IAdapter as OurT2IAdapter
from inkpunk_weights import open_control, save_control
from safetensors.torch import save_file
from torch import Tensor

from tests.oracles import our_weights, relative_error

# max |ours - theirs| / max |theirs| in float32: rounding only, with room for another order of summation.
TOLERANCE = 1e-5

WIDTHS = (32, 48, 64, 64)
SMALL: dict[str, Any] = {
    "block_out_channels": WIDTHS,
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),  # as Stable Diffusion v1 has them
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "norm_num_groups": 16,
}
HINT = {"conditioning_embedding_out_channels": (8, 8, 12, 16)}
SIZES = ((16, 16), (13, 9), (1, 3))
ODD = (13, 9)
TIMESTEPS = torch.tensor([981, 0])


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(model: Any, seed: int) -> Any:
    """With no weight left at zero or one, and biases, too."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        elif not parameter.any():
            parameter.normal_(std=0.1, generator=generator)
    return model.eval()


@functools.cache
def controlnets(seed: int = 0, **config: Any) -> tuple[ControlNet, ControlNetModel]:
    """Ours, read from the folder that diffusers' is saved in, and diffusers'."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = drawn(ControlNetModel(**SMALL | HINT | config), seed)
    with TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return our_control(Path(folder), pooled=theirs.config["global_pool_conditions"]), theirs


def our_control(path: Path, pooled: bool = False, heads: int = 4, groups: int = 16) -> ControlNet:
    control = open_control(path)
    assert (control.kind, control.unknown) == ("ControlNet", ())
    config = ControlNetConfig.from_weights(control.tensors, heads=heads, groups=groups, pooled=pooled)
    with torch.device("meta"):
        network = ControlNet(config)
    network.load_state_dict(dict(control.tensors), assign=True)
    return network.eval()


@functools.cache
def t2i_adapter(
    light: bool = False, channels: tuple[int, ...] = WIDTHS, hint_channels: int = 3
) -> T2IAdapter:
    kind, blocks = ("light_adapter", 4) if light else ("full_adapter", 2)
    told = [*channels[:-1]] if light else [*channels]  # diffusers says a light one's last width once
    with torch.random.fork_rng():
        torch.manual_seed(hint_channels)
        made = T2IAdapter(channels=told, adapter_type=kind, num_res_blocks=blocks, in_channels=hint_channels)
        return drawn(made, 0)


def our_adapter(path: Path) -> OurT2IAdapter:
    control = open_control(path)
    assert (control.kind, control.unknown) == ("T2I-Adapter", ())
    with torch.device("meta"):
        network = OurT2IAdapter(T2IAdapterConfig.from_weights(control.tensors))
    network.load_state_dict(dict(control.tensors), assign=True)
    return network.eval()


@functools.cache
def unets() -> tuple[UNet, UNet2DConditionModel]:
    torch.manual_seed(7)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    theirs = drawn(UNet2DConditionModel(**SMALL, up_block_types=up), 7)
    ours = UNet(UNetConfig.from_diffusers(json.loads(theirs.to_json_string()))).eval()
    ours.load_state_dict(our_weights(theirs))
    return ours, theirs


def inputs(height: int, width: int, hint_channels: int = 3, **sizes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, a context and a hint."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    batch, context = sizes.get("batch", 2), sizes.get("context", 24)
    return (
        torch.randn(batch, 4, height, width, generator=generator),
        torch.randn(batch, 7, context, generator=generator),
        torch.rand(batch, hint_channels, 8 * height, 8 * width, generator=generator),
    )


def assert_same(ours: Residuals, theirs: Any, tolerance: float = TOLERANCE) -> None:
    """Entry by entry, with diffusers' skips and middle."""
    skips, middle = theirs
    assert len(ours.skips) == len(skips)
    for own, entry in zip((*ours.skips, ours.middle), (*skips, middle), strict=True):
        assert own is not None
        assert relative_error(own, entry.expand_as(own)) <= tolerance


# -- ControlNet --


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_a_controlnet_tells_is_the_same(height: int, width: int) -> None:
    ours, theirs = controlnets()
    latents, context, hint = inputs(height, width)
    features = ours.encode_hint(hint)
    for timesteps, scale in ((TIMESTEPS, 1.0), (torch.tensor(250.5), 0.4)):
        expected = theirs(latents, timesteps, context, hint, conditioning_scale=scale, return_dict=False)
        assert_same(ours(latents, timesteps, context, features).scaled(scale), expected)


def test_a_controlnet_of_one_channel_and_other_levels_is_the_same() -> None:
    ours, theirs = controlnets(
        1,
        conditioning_channels=1,
        in_channels=9,
        block_out_channels=(32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        layers_per_block=2,
    )
    latents, context, hint = inputs(8, 5, hint_channels=1)
    latents = torch.cat([latents, latents, latents[:, :1]], dim=1)
    expected = theirs(latents, TIMESTEPS, context, hint, return_dict=False)
    assert_same(ours(latents, TIMESTEPS, context, ours.encode_hint(hint)), expected)


def test_a_pooled_controlnet_tells_the_same() -> None:
    ours, theirs = controlnets(2, global_pool_conditions=True)
    latents, context, hint = inputs(*ODD)
    expected = theirs(latents, TIMESTEPS, context, hint, return_dict=False)
    assert_same(ours(latents, TIMESTEPS, context, ours.encode_hint(hint)), expected)


@pytest.mark.parametrize("guess", [False, True], ids=["", "guess"])
def test_a_unet_with_one_and_with_two_controlnets_predicts_the_same(guess: bool) -> None:
    ours, theirs = unets()
    pairs = [controlnets(0), controlnets(3)]
    latents, context, hint = inputs(*ODD)
    hints, scales = [hint, 1 - hint], [0.9, 0.35]
    told: list[Residuals] = []
    for (control, _), each, scale in zip(pairs, hints, scales, strict=True):
        residuals = control(latents, TIMESTEPS, context, control.encode_hint(each)).scaled(scale)
        weights = guess_weights(len(residuals.skips) + 1)
        told.append(residuals.scaled(weights) if guess else residuals)
    for residuals, count in ((told[0], 1), (told[0] + told[1], 2)):
        skips, middle = MultiControlNetModel([net for _, net in pairs[:count]])(
            latents, TIMESTEPS, context, hints, scales, guess_mode=guess, return_dict=False
        )
        assert_same(residuals, (skips, middle))
        expected = theirs(
            latents,
            TIMESTEPS,
            context,
            down_block_additional_residuals=tuple(skips),
            mid_block_additional_residual=middle,
        ).sample
        predicted = ours(latents, TIMESTEPS, context, residuals)
        assert relative_error(predicted, expected) <= TOLERANCE
        assert relative_error(predicted, ours(latents, TIMESTEPS, context)) > 1e-2


def test_a_controlnet_that_we_write_is_read_by_diffusers_and_by_us(tmp_path: Path) -> None:
    control, theirs = controlnets()
    theirs.save_pretrained(tmp_path / "folder")
    path = tmp_path / "control.safetensors"
    save_control(path, control.state_dict(), dtype=torch.float32)
    read = ControlNetModel.from_single_file(str(path), config=str(tmp_path / "folder"), local_files_only=True)
    assert read.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in read.state_dict().items())
    again = our_control(path).state_dict()
    assert again.keys() == control.state_dict().keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in control.state_dict().items())


# -- T2I-Adapter --


def in_authors_names(tensors: Mapping[str, Tensor], light: bool) -> dict[str, Tensor]:
    """Without prefix; a whole one's blocks are numbered straight through, two a level."""

    def name(theirs: str) -> str:
        bare = theirs.removeprefix("adapter.")
        if light:
            return bare.replace(".resnets.", ".body.")
        bare = re.sub(r"^body\.(\d+)\.in_conv", lambda match: f"body.{2 * int(match[1])}.in_conv", bare)
        block = re.compile(r"^body\.(\d+)\.resnets\.(\d+)\.")
        return block.sub(lambda match: f"body.{2 * int(match[1]) + int(match[2])}.", bare)

    return {name(theirs): tensor for theirs, tensor in tensors.items()}


def assert_features_are_the_same(path: Path, theirs: T2IAdapter, hint: Tensor) -> None:
    for own, entry in zip(our_adapter(path)(hint).levels, theirs(hint), strict=True):
        assert own is not None
        assert relative_error(own, entry) <= TOLERANCE


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
def test_what_an_adapter_tells_is_the_same(light: bool, tmp_path: Path) -> None:
    for channels, (height, width) in zip((3, 1, 3), SIZES, strict=True):
        theirs, hint = t2i_adapter(light, hint_channels=channels), inputs(height, width, channels)[2]
        folder = tmp_path / f"{height}x{width}"
        theirs.save_pretrained(folder / "diffusers")
        save_file(in_authors_names(theirs.state_dict(), light), folder / "single.safetensors")
        torch.save(in_authors_names(theirs.state_dict(), light), folder / "single.pth")
        for path in folder.iterdir():
            assert_features_are_the_same(path, theirs, hint)


def test_a_light_adapter_whose_widths_grow_fourfold_is_the_same(tmp_path: Path) -> None:
    """There a level's inner width is that of the level before, and still it has a convolution between them."""
    theirs = t2i_adapter(light=True, channels=(16, 64, 64, 64))
    theirs.save_pretrained(tmp_path)
    assert_features_are_the_same(tmp_path, theirs, inputs(4, 4)[2])


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
def test_a_unet_with_an_adapter_and_with_a_controlnet_beside_it_predicts_the_same(
    light: bool, tmp_path: Path
) -> None:
    ours, theirs = unets()
    (control, their_control), their_adapter = controlnets(), t2i_adapter(light)
    their_adapter.save_pretrained(tmp_path)
    latents, context, hint = inputs(*ODD)
    levels = our_adapter(tmp_path)(1 - hint).scaled(0.7)
    skips, middle = their_control(latents, TIMESTEPS, context, hint, return_dict=False)
    residuals = control(latents, TIMESTEPS, context, control.encode_hint(hint))
    told: dict[str, Any] = {
        "down_block_additional_residuals": tuple(skips),
        "mid_block_additional_residual": middle,
    }
    for given, beside in ((levels, {}), (levels + residuals, told)):
        # diffusers empties the list, and adds in place
        features = [0.7 * feature for feature in their_adapter(1 - hint)]
        expected = theirs(
            latents, TIMESTEPS, context, down_intrablock_additional_residuals=features, **beside
        ).sample
        predicted = ours(latents, TIMESTEPS, context, given)
        assert relative_error(predicted, expected) <= TOLERANCE
        assert relative_error(predicted, ours(latents, TIMESTEPS, context)) > 1e-2


# -- at full size --


@pytest.mark.slow
def test_a_controlnet_at_full_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = drawn(ControlNetModel(cross_attention_dim=768), 0)
    theirs.save_pretrained(tmp_path)
    latents, context, hint = inputs(64, 64, batch=1, context=768)
    expected = theirs(latents, torch.tensor(981), context, hint, return_dict=False)
    del theirs
    ours = our_control(tmp_path, heads=8, groups=32)
    assert ours.control_config == ControlNetConfig()
    assert_same(
        ours(latents, torch.tensor(981), context, ours.encode_hint(hint)), expected, 2e-5
    )  # 6e-6 seen


@pytest.mark.slow
@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
def test_an_adapter_at_full_size(light: bool, tmp_path: Path) -> None:
    theirs = t2i_adapter.__wrapped__(light, (320, 640, 1280, 1280))
    theirs.save_pretrained(tmp_path)
    assert_features_are_the_same(tmp_path, theirs, inputs(64, 64, batch=1)[2])
