from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import open_checkpoint
from torch import nn

from tools.make_checkpoint import LAYOUTS, SIZES, main, make_checkpoint, random_weights

COMPONENTS = ("text_encoder", "unet", "vae")
PARAMETERS = {"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    checkpoint = open_checkpoint(path)
    return {
        f"{part}.{name}": tensor for part in COMPONENTS for name, tensor in getattr(checkpoint, part).items()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("layouts")
    paths = {
        layout: folder / f"{layout}{ending}"
        for layout, ending in zip(LAYOUTS, (".safetensors", ".ckpt", ""), strict=True)
    }
    for layout, path in paths.items():
        make_checkpoint(path, layout=layout, size="small")
    return paths


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_a_complete_checkpoint(written: dict[str, Path], layout: str) -> None:
    assert open_checkpoint(written[layout]).report(finite=True).problems == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_numbers(written: dict[str, Path], layout: str) -> None:
    first, other = tensors(written["single-file-safetensors"]), tensors(written[layout])
    assert first.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_another_dtype_is_the_same_rounded(written: dict[str, Path], tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "half.safetensors", size="small", dtype=torch.bfloat16)
    half = tensors(tmp_path / "half.safetensors")
    assert all(
        torch.equal(tensor.bfloat16(), half[name])
        for name, tensor in tensors(written["single-file-safetensors"]).items()
    )


def test_another_seed_is_another_model() -> None:
    name = "final_norm.bias"
    draw = {seed: random_weights(SIZES["small"]["text_encoder"], seed)[name] for seed in (0, 1)}
    assert not torch.equal(draw[0], draw[1])


def test_no_two_tensors_are_alike(written: dict[str, Path]) -> None:
    starts = [
        tuple(tensor.flatten()[:8].tolist())
        for tensor in tensors(written["single-file-safetensors"]).values()
    ]
    assert len(set(starts)) == len(starts)


def test_the_full_size_has_the_parameters_of_sd_v1_5() -> None:
    for name, make in SIZES["full"].items():
        weights = random_weights(make, 0)
        assert sum(weights.spec(each).numel for each in weights) == PARAMETERS[name]


def test_activations_stay_at_a_scale_that_float16_holds(written: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(written["single-file-safetensors"])

    def filled(model: nn.Module, weights: object) -> nn.Module:
        model.load_state_dict(dict(weights))  # type: ignore
        return model.eval()

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(49408, (1, 77), generator=generator)
    noise = torch.randn(1, 4, 16, 16, generator=generator)
    with torch.no_grad():
        config = TextEncoderConfig.from_weights(checkpoint.text_encoder)
        context = filled(TextEncoder(config), checkpoint.text_encoder)(tokens)
        unet = filled(UNet(UNetConfig.from_weights(checkpoint.unet)), checkpoint.unet)
        predicted = unet(noise, torch.tensor([500]), context)
        image = filled(VAE(VAEConfig.from_weights(checkpoint.vae)), checkpoint.vae).decode(noise)
    for output in (context, predicted, image):
        assert 0.05 < output.std() < 20
        assert output.abs().max() < 200


def test_the_command_writes_and_never_overwrites_unasked(tmp_path: Path) -> None:
    out = tmp_path / "random"
    arguments = ["--size", "small", "--layout", "diffusers-folder", "--dtype", "float16", str(out)]
    assert CliRunner().invoke(main, arguments).output == f"{out}\n"
    assert tensors(out)["unet.conv_in.weight"].dtype == torch.float16
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert again.output.startswith("Error: ")
    assert again.output.count("\n") == 1
    assert CliRunner().invoke(main, [*arguments, "--overwrite"]).exit_code == 0
