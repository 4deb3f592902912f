import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_vae import TinyVAE, TinyVAEConfig
from torch import Tensor

SMALL = TinyVAEConfig(width=8, encoder_blocks=(1, 1, 2), decoder_blocks=(2, 1, 0))
ALONE = TinyVAEConfig(width=8, encoder_blocks=(), decoder_blocks=(1, 1))


def on_meta(config: TinyVAEConfig = TinyVAEConfig()) -> TinyVAE:  # noqa: B008  # frozen
    with torch.device("meta"):
        return TinyVAE(config).eval()


@pytest.fixture(scope="module")
def tiny() -> TinyVAE:
    torch.manual_seed(0)
    return TinyVAE(SMALL).eval().requires_grad_(False)


def test_taesd_has_a_thirtieth_of_the_vae_s_parameters_and_maps_eightfold():
    taesd = on_meta()
    # 1,222,532 + 1,222,531: what its two published files hold.
    assert [sum(p.numel() for p in half.parameters()) for half in taesd.children()] == [1_222_532, 1_222_531]
    latents = taesd.encode(torch.empty(2, 3, 512, 392, device="meta"))
    assert latents.shape == (2, 4, 64, 49)
    assert taesd.decode(latents).shape == (2, 3, 512, 392)


@settings(deadline=None, max_examples=15)
@given(
    width=st.sampled_from([4, 8]),
    latent_channels=st.integers(1, 16),
    image_channels=st.integers(1, 4),
    levels=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4),
    alone=st.booleans(),
)
def test_weights_tell_every_size(
    width: int, latent_channels: int, image_channels: int, levels: list, alone: bool
):
    encoder, decoder = zip(*levels, strict=True)
    config = TinyVAEConfig(image_channels, latent_channels, width, () if alone else encoder, decoder)
    assert TinyVAEConfig.from_weights(on_meta(config).state_dict()) == config


def test_latents_far_out_are_drawn_in_and_those_near_hardly_moved(tiny: TinyVAE):
    """It is 3 tanh(z / 3) that is decoded: about z itself near 0, and 3 far out, where the picture stays as it is."""
    latents = torch.randn(1, 4, 3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(tiny.decode(latents.sign() * 1e3), tiny.decode(latents.sign() * 1e4))
    near, bare = latents * 1e-2, tiny.decoder.conv_in(latents * 1e-2)
    seen = list[Tensor]()
    with tiny.decoder.conv_in.register_forward_hook(lambda module, given, got: seen.append(got)):
        tiny.decode(near)
    torch.testing.assert_close(seen[0], bare, rtol=0, atol=1e-5)  # tanh leaves z^3 / 27 of it away


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_what_comes_out_has_the_dtype_that_went_in(tiny: TinyVAE, dtype: torch.dtype):
    cast = TinyVAE(SMALL).to(dtype)
    latents = cast.encode(torch.zeros(1, 3, 8, 12, dtype=dtype))
    assert latents.dtype == cast.decode(latents).dtype == dtype


def test_a_decoder_alone_decodes_and_says_that_it_cannot_encode():
    alone = on_meta(ALONE)
    assert alone.decode(torch.empty(1, 4, 3, 2, device="meta")).shape == (1, 3, 6, 4)
    with pytest.raises(ValueError, match="has no encoder: load a file with both halves"):
        alone.encode(torch.empty(1, 3, 6, 4, device="meta"))


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (torch.zeros(1, 3, 6, 8), r"images are 8 x 6 pixels.*multiples of 4"),
        (torch.zeros(1, 4, 8, 8), r"images have shape \[1, 4, 8, 8\]"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tiny: TinyVAE, tensor: Tensor, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        tiny.encode(tensor)


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"width": 0}, r"width is 0: it must be positive"),
        ({"width": 2**17}, "width is 131072: it must be at most"),
        ({"decoder_blocks": ()}, "decoder_blocks has 0 levels: give 1 to 16"),
        ({"encoder_blocks": (1, 1)}, "encoder_blocks has 2 levels and decoder_blocks 4"),
        (
            {"decoder_blocks": (3, 3, -1, 1)},
            "one of TinyVAEConfig.decoder_blocks is -1: it must be at least 0",
        ),
        ({"latent_channels": True}, "latent_channels is True: it must be a whole number"),
    ],
)
def test_sizes_no_network_has_are_refused_by_name(sizes: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        TinyVAEConfig(**sizes)


def test_weights_of_something_else_are_refused_by_the_name_they_lack():
    with pytest.raises(
        ValueError, match=r"not a tiny autoencoder's weights.*decoder\.conv_in\.weight.*TinyVAE"
    ):
        TinyVAEConfig.from_weights({"conv_in.weight": torch.zeros(4, 4, 3, 3)})
    with pytest.raises(ValueError, match=r"decoder\.conv_in\.weight.*not four sides"):
        TinyVAEConfig.from_weights({"decoder.conv_in.weight": torch.zeros(4)})
