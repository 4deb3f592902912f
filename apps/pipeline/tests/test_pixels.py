import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.pixels import image_to_tensor, tensor_to_image
from PIL import Image


def test_black_is_minus_one_and_white_is_one() -> None:
    image = Image.new("RGB", (3, 2), "black")
    image.putpixel((2, 0), (255, 0, 0))
    tensor = image_to_tensor(image)
    assert tensor.shape == (3, 2, 3)
    assert tensor.dtype == torch.float32
    assert tensor[0, 0, 2] == 1
    assert tensor.sum() == 1 - 17


def test_every_level_survives_the_way_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([levels, levels.T, 255 - levels], axis=-1))
    assert tensor_to_image(image_to_tensor(image)).tobytes() == image.tobytes()


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=30))
def test_rounding_is_numpys(values: list[float]) -> None:
    values = values[: len(values) // 3 * 3]
    tensor = torch.tensor(values).reshape(3, 1, -1)
    wanted = (np.float32(255) * (tensor.numpy() / 2 + np.float32(0.5)).clip(0, 1)).round().astype(np.uint8)
    assert (np.asarray(tensor_to_image(tensor)) == wanted.transpose(1, 2, 0)).all()


def test_a_tie_goes_to_the_even_level() -> None:
    tensor = torch.full((3, 1, 1), 0.0)  # 127.5, between 127 and 128
    assert tensor_to_image(tensor).getpixel((0, 0)) == (128, 128, 128)
    ties = torch.tensor([k + 0.5 for k in range(255)], dtype=torch.float64)
    exact = (ties / 255 * 2 - 1).float()
    landed = ((exact / 2 + 0.5) * 255 == ties.float()).nonzero().flatten()  # those float32 can express
    assert len(landed) > 50
    image = tensor_to_image(exact[landed].expand(3, 1, -1))
    assert (np.asarray(image)[0, :, 0] % 2 == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_type_is_taken(dtype: torch.dtype) -> None:
    assert tensor_to_image(torch.ones(3, 2, 4, dtype=dtype)).size == (4, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_overflow_is_no_picture(value: float) -> None:
    tensor = torch.zeros(3, 8, 8)
    tensor[1, 2, 3] = value
    with pytest.raises(PictureError, match=r"not finite.*--dtype float32"):
        tensor_to_image(tensor)
