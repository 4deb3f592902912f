"""The image encoder sees each image by itself, its middle, and refuses what it cannot see."""

import copy
import pickle
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import ImageEncoder, ImageEncoderConfig, prepared
from torch import Tensor

SMALL = ImageEncoderConfig(image=12, patch=4, width=24, layers=3, heads=4, feed_forward=40, projection=10)

# What transformers writes for the encoder of the published image prompts, less what says nothing of its shape.
JSON: Mapping[str, object] = {
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "image_size": 224,
    "intermediate_size": 5120,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_vision_model",
    "num_attention_heads": 16,
    "num_channels": 3,
    "num_hidden_layers": 32,
    "patch_size": 14,
    "projection_dim": 1024,
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def encoder() -> ImageEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ImageEncoder(SMALL).requires_grad_(False)


def test_the_defaults_are_those_of_the_published_image_prompts() -> None:
    assert ImageEncoderConfig.from_diffusers(JSON) == ImageEncoderConfig()
    with torch.device("meta"):
        built = ImageEncoder(ImageEncoderConfig())
    assert ImageEncoderConfig.from_weights(built.state_dict()) == ImageEncoderConfig()
    assert sum(each.numel() for each in built.parameters()) == 632_076_800
    assert not list(built.buffers())
    assert ImageEncoderConfig().positions == 257


def test_each_image_is_seen_by_itself() -> None:
    images = drawn(3, 3, 12, 12)
    for see in (encoder(), encoder().patches):
        alone = torch.cat([see(image[None]) for image in images])
        assert (see(images) - alone).abs().max() < 1e-5  # float32, added in another order


def test_every_patch_sees_every_other() -> None:
    images = drawn(1, 3, 12, 12)
    changed = images.clone()
    changed[..., -1, -1] += 1  # in the last patch
    moved = (encoder().patches(changed) - encoder().patches(images)).abs().amax(-1)
    assert (moved > 1e-6).all()


def test_skipped_layers_do_not_matter_and_others_do() -> None:
    images, one = drawn(1, 3, 12, 12), encoder()
    other = copy.deepcopy(one)
    other.layers[-1].feed_forward.fc1.bias += 1
    assert torch.equal(one.patches(images), other.patches(images))
    assert not torch.equal(one.patches(images, skip_layers=0), other.patches(images, skip_layers=0))
    assert not torch.equal(one(images), other(images))


def test_a_pickled_encoder_sees_the_same() -> None:
    images = drawn(1, 3, 12, 12)
    assert torch.equal(pickle.loads(pickle.dumps(encoder()))(images), encoder()(images))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[batch, 3, 12, 12\].*`prepared`"):
        encoder()(drawn(1, 3, 13, 13))


@pytest.mark.parametrize("skip_layers", [-1, 3])
def test_more_layers_than_there_are_cannot_be_skipped(skip_layers: int) -> None:
    with pytest.raises(ValueError, match="skip_layers must be from 0 to 2"):
        encoder().patches(drawn(1, 3, 12, 12), skip_layers)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "quick_gelu"),
        ("hidden_act", None),
        ("model_type", "siglip_vision_model"),
        ("num_channels", 1),
        ("hidden_size", None),
        ("hidden_size", 2**20),
        ("num_attention_heads", 3),
        ("patch_size", "14"),
    ],
)
def test_configs_of_other_encoders_are_refused_by_key(key: str, value: object) -> None:
    config = {**JSON, key: value}
    if value is None:
        del config[key]  # which for the activation means OpenAI's, by transformers' default
    with pytest.raises(ValueError, match=f"image encoder config: .*{key}"):
        ImageEncoderConfig.from_diffusers(config)


def test_an_image_that_does_not_divide_into_patches_is_refused() -> None:
    with pytest.raises(ValueError, match="224 pixels a side does not divide into patches of 15"):
        ImageEncoderConfig(patch=15)


@pytest.mark.parametrize("positions", [0, 1, 11])
def test_positions_that_are_no_square_are_refused(positions: int) -> None:
    weights = dict(encoder().state_dict()) | {"position_embedding.weight": torch.zeros(positions, 24)}
    with pytest.raises(ValueError, match="image"):
        ImageEncoderConfig.from_weights(weights, heads=4)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20))
def test_a_picture_of_any_size_is_prepared_to_a_square_and_one_colour_stays_one(
    height: int, width: int, size: int
) -> None:
    seen = prepared(torch.full((2, 3, height, width), 0.5), size)
    assert seen.shape == (2, 3, size, size)
    expected = (0.75 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    assert (seen - expected[:, None, None]).abs().max() < 1e-5


def test_what_a_long_picture_has_at_its_ends_is_not_seen() -> None:
    picture = drawn(1, 3, 20, 60).clamp(-1, 1)
    ends = picture.clone()
    ends[..., :15] = ends[..., -15:] = 1
    assert torch.equal(prepared(picture, 16), prepared(ends, 16))


@pytest.mark.parametrize(("height", "width"), [(0, 5), (1, 65), (130, 2)])
def test_pictures_with_nothing_to_see_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x{width}"):
        prepared(torch.zeros(1, 3, height, width))
