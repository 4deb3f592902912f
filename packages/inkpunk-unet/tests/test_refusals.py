"""Inputs that do not fit are refused in one line that says which, what and why.

Here the annotations are not checked at run time, as they are not for a user.
"""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from inkpunk_unet import UNet, UNetConfig


@pytest.fixture(autouse=True)
def unchecked_annotations() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def good() -> dict[str, torch.Tensor]:
    return {
        "latents": torch.zeros(2, 4, 8, 8),
        "timesteps": torch.tensor([1, 2]),
        "context": torch.zeros(2, 5, 24),
    }


@pytest.fixture(scope="module")
def unet() -> UNet:
    return UNet(UNetConfig(widths=(32, 64), attention=(True, True), context_width=24))


def test_fitting_inputs_are_accepted(unet: UNet) -> None:
    assert unet(**good()).shape == (2, 4, 8, 8)


@pytest.mark.parametrize(
    ("argument", "value", "complaint"),
    [
        ("latents", torch.zeros(4, 8, 8), "latents must be [batch, 4, height, width], not [4, 8, 8]"),
        ("latents", torch.zeros(2, 9, 8, 8), "latents must be [batch, 4, height, width], not [2, 9, 8, 8]"),
        ("latents", torch.zeros(2, 4, 0, 8), "latents must be [batch, 4, height, width], not [2, 4, 0, 8]"),
        ("latents", torch.zeros(3, 4, 8, 8), "timesteps must be [3], or one scalar for all, not [2]"),
        ("timesteps", torch.zeros(1), "timesteps must be [2], or one scalar for all, not [1]"),
        ("timesteps", torch.zeros(2, 1), "timesteps must be [2], or one scalar for all, not [2, 1]"),
        ("context", torch.zeros(5, 24), "context must be [2, tokens, 24], not [5, 24]"),
        ("context", torch.zeros(1, 5, 24), "context must be [2, tokens, 24], not [1, 5, 24]"),
        ("context", torch.zeros(2, 5, 768), "context must be [2, tokens, 24], not [2, 5, 768]"),
        ("context", torch.zeros(2, 0, 24), "context must have at least one token, not [2, 0, 24]"),
        ("context", torch.zeros(2, 5, 24).half(), "latents are torch.float32 but context is torch.float16"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    unet: UNet, argument: str, value: torch.Tensor, complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        unet(**(good() | {argument: value}))
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
