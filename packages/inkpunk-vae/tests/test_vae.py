import ast
import copy
import inspect
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_vae import VAE, VAEConfig
from inkpunk_vae.vae import Decoder, Encoder
from torch import Tensor

few = settings(deadline=None, max_examples=15)
sides = st.integers(1, 9)


def images_of(batch: int, rows: int, columns: int, factor: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return torch.rand(batch, 3, rows * factor, columns * factor, generator=generator) * 2 - 1


def latents_of(batch: int, rows: int, columns: int) -> Tensor:
    return torch.randn(batch, 4, rows, columns, generator=torch.Generator().manual_seed(rows * 100 + columns))


def full_size_on_meta() -> VAE:
    with torch.device("meta"):
        return VAE(VAEConfig()).eval()


def test_stable_diffusion_has_83_653_863_parameters_and_no_buffers():
    vae = full_size_on_meta()
    assert sum(parameter.numel() for parameter in vae.parameters()) == 83_653_863
    assert not list(vae.buffers())


@pytest.mark.parametrize(("height", "width"), [(512, 512), (520, 392)])
def test_stable_diffusion_maps_images_to_latents_an_eighth_as_high_and_wide(height: int, width: int):
    vae = full_size_on_meta()
    posterior = vae.encode(torch.empty(2, 3, height, width, device="meta"))
    assert posterior.mean.shape == posterior.std.shape == (2, 4, height // 8, width // 8)
    assert vae.decode(posterior.mean).shape == (2, 3, height, width)


@few
@given(rows=sides, columns=sides, batch=st.integers(1, 2))
def test_any_multiple_of_the_factor_is_a_size(vae: VAE, rows: int, columns: int, batch: int):
    posterior = vae.encode(images_of(batch, rows, columns))
    assert posterior.mean.shape == (batch, 4, rows, columns)
    assert vae.decode(posterior.mean).shape == (batch, 3, 4 * rows, 4 * columns)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_comes_out_has_the_dtype_that_went_in(vae: VAE, dtype: torch.dtype):
    cast = copy.deepcopy(vae).to(dtype)
    posterior = cast.encode(images_of(1, 3, 2).to(dtype))
    images = cast.decode(posterior.mean)
    assert posterior.mean.dtype == posterior.std.dtype == images.dtype == dtype
    assert images.isfinite().all()


def test_the_same_input_gives_the_same_output(vae: VAE):
    images, latents = images_of(2, 5, 3), latents_of(2, 5, 3)
    assert torch.equal(vae.encode(images).mean, vae.encode(images).mean)
    assert torch.equal(vae.decode(latents), vae.decode(latents))


@few
@given(rows=sides, columns=sides)
def test_an_image_does_not_depend_on_its_company(vae: VAE, rows: int, columns: int):
    latents = latents_of(3, rows, columns)
    alone = torch.cat([vae.decode(latent[None]) for latent in latents])
    together = vae.decode(latents)
    # Rounding only: libraries sum in another order for another batch size.
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5 * alone.abs().max().item())


@few
@given(rows=sides, columns=sides)
def test_float32_is_float64_but_for_rounding(vae: VAE, rows: int, columns: int):
    double = copy.deepcopy(vae).double()
    images, latents = images_of(1, rows, columns), latents_of(1, rows, columns)
    for found, exact in (
        (vae.decode(latents), double.decode(latents.double())),
        (vae.encode(images).mean, double.encode(images.double()).mean),
        (vae.encode(images).std, double.encode(images.double()).std),
    ):
        # Some fifteen layers, each adding a few units of float32's 6e-8.
        assert ((found - exact).abs().max() / exact.abs().max()).item() < 1e-5


@few
@given(scaling=st.sampled_from([0.13025, 0.18215, 0.5]), rows=sides)
def test_the_scaling_is_all_that_stands_between_the_network_s_latents_and_the_caller_s(
    vae: VAE, scaling: float, rows: int
):
    plain, scaled = (VAE(replace(vae.config, scaling=factor)).eval() for factor in (1.0, scaling))
    plain.load_state_dict(vae.state_dict())
    scaled.load_state_dict(vae.state_dict())
    with torch.no_grad():
        before, after = plain.encode(images_of(1, rows, 3)), scaled.encode(images_of(1, rows, 3))
        torch.testing.assert_close(after.mean, before.mean * scaling)
        torch.testing.assert_close(after.std, before.std * scaling)
        # Dividing what was multiplied rounds twice; the network may make a little more of that.
        torch.testing.assert_close(
            scaled.decode(before.mean * scaling), plain.decode(before.mean), rtol=0, atol=1e-4
        )


def test_a_pixel_reaches_the_whole_image(vae: VAE):
    latents = latents_of(1, 6, 6)
    changed = latents.clone()
    changed[0, :, 0, 0] += 1
    difference = (vae.decode(changed) - vae.decode(latents)).abs().amax(dim=1)
    assert (difference > 0).float().mean().item() > 0.99


def test_shifting_pads_on_the_right_and_at_the_bottom_only():
    """A 3x3 kernel that reads only its top left tap picks even pixels: nothing was padded on that side."""
    from inkpunk_vae.layers import Downsample

    layer = Downsample(1)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    with torch.no_grad():
        layer.conv.weight.zero_()[..., 0, 0] = 1
        layer.conv.bias.zero_()
        assert torch.equal(layer(x), x[:, :, ::2, ::2])
        layer.conv.weight.zero_()[..., 2, 2] = 1
        assert layer(x).flatten().tolist() == [10, 0, 0, 0]


def test_a_model_built_on_meta_runs_once_it_is_given_weights(vae: VAE):
    with torch.device("meta"):
        empty = VAE(vae.config).eval()
    empty.load_state_dict(vae.state_dict(), assign=True)
    latents = latents_of(1, 2, 3)
    assert torch.equal(empty.decode(latents), vae.decode(latents))


def test_it_learns(vae: VAE):
    student = copy.deepcopy(vae).requires_grad_(True).train()
    images = images_of(1, 2, 2)
    posterior = student.encode(images)
    student.decode(posterior.sample(torch.ones_like(posterior.mean))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters() if p.numel() > 16)


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((1, 3, 12, 13), "images are 13 x 12 pixels.*multiples of 4.*12 x 12"),
        ((1, 3, 2, 8), "images are 8 x 2 pixels.*8 x 4"),
        ((1, 4, 8, 8), r"images have shape \[1, 4, 8, 8\].*\[batch, 3, height, width\]"),
        ((1, 3, 0, 8), "images have shape"),
    ],
)
def test_images_of_another_shape_are_refused_in_one_line(vae: VAE, shape: tuple, complaint: str):
    with pytest.raises(ValueError, match=complaint) as refusal:
        vae.encode(torch.zeros(shape))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 4, 0, 8)])
def test_latents_of_another_shape_are_refused_in_one_line(vae: VAE, shape: tuple):
    with pytest.raises(ValueError, match=r"latents have shape .*\[batch, 4, height, width\]") as refusal:
        vae.decode(torch.zeros(shape))
    assert "\n" not in str(refusal.value)


def test_a_call_is_declared_as_what_it_runs() -> None:
    """Type checkers see `__call__`, which must say the same as `forward`; at run time there is torch's alone."""
    for kind in (Encoder, Decoder):
        (tree,) = ast.parse(inspect.getsource(kind)).body
        methods = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        for part in ("args", "returns"):
            declared, runs = (getattr(methods[name], part) for name in ("__call__", "forward"))
            assert ast.dump(declared) == ast.dump(runs)
        assert "__call__" not in vars(kind)
