"""Inputs that do not fit are refused in one line that says which, what and why.

Here the annotations are not checked at run time, as they are not for a user.
"""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from inkpunk_unet import Residuals, UNet, UNetConfig


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


MIDDLE = 6  # the middle's place after the six skips


def residuals(changed: dict[int, torch.Tensor] | None = None) -> Residuals:
    """Residuals that fit, but for the entries given."""
    skips = [torch.zeros(2, 32, 8, 8)] * 3 + [torch.zeros(2, 32, 4, 4)] + [torch.zeros(2, 64, 4, 4)] * 2
    *skips, middle = (dict(enumerate([*skips, torch.zeros(2, 64, 4, 4)])) | (changed or {})).values()
    return Residuals(tuple(skips), middle)


def test_fitting_residuals_are_accepted(unet: UNet) -> None:
    assert unet(**good(), residuals=residuals() + residuals().scaled([1.0] * 7)).shape == (2, 4, 8, 8)


@pytest.mark.parametrize(
    ("entry", "value", "complaint"),
    [
        (0, torch.zeros(1, 32, 8, 8), "residuals.skips[0] must be [2, 32, 8, 8], not [1, 32, 8, 8]"),
        (2, torch.zeros(2, 32, 8, 8).half(), "residuals.skips[2] must be torch.float32, not torch.float16"),
        (3, torch.zeros(2, 32, 8, 8), "residuals.skips[3] must be [2, 32, 4, 4], not [2, 32, 8, 8]"),
        (4, torch.zeros(64, 4, 4), "residuals.skips[4] must be [2, 64, 4, 4], not [64, 4, 4]"),
        (5, torch.zeros(2, 64, 1, 1), "residuals.skips[5] must be [2, 64, 4, 4], not [2, 64, 1, 1]"),
        (MIDDLE, torch.zeros(1, 64, 4, 4), "residuals.middle must be [2, 64, 4, 4], not [1, 64, 4, 4]"),
        (
            MIDDLE,
            torch.zeros(2, 64, 4, 4).double(),
            "residuals.middle must be torch.float32, not torch.float64",
        ),
    ],
)
def test_residuals_that_do_not_fit_are_refused_in_one_line(
    unet: UNet, entry: int, value: torch.Tensor, complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        unet(**good(), residuals=residuals({entry: value}))
    assert str(refusal.value) == f"UNet: {complaint}"


@pytest.mark.parametrize("count", [1, 5, 7])
def test_residuals_must_be_as_many_as_the_skips(unet: UNet, count: int) -> None:
    with pytest.raises(ValueError) as refusal:
        unet(**good(), residuals=Residuals((None,) * count, None))
    assert str(refusal.value) == f"UNet: residuals.skips must be 6, one for each skip connection, not {count}"


def test_residuals_for_different_networks_do_not_add() -> None:
    with pytest.raises(ValueError) as refusal:
        residuals() + Residuals((None,) * 9, None)
    assert str(refusal.value) == (
        "Residuals: sets of 6 and 9 skips do not add; they are for different networks"
    )


@pytest.mark.parametrize(
    ("entry", "value", "complaint"),
    [
        (1, torch.zeros(1, 32, 8, 8), "the second set's skips[1] must be [2, 32, 8, 8], not [1, 32, 8, 8]"),
        (
            MIDDLE,
            torch.zeros(2, 64, 4, 4).half(),
            "the second set's middle must be torch.float32, not torch.float16",
        ),
    ],
)
def test_residuals_that_do_not_fit_each_other_do_not_add(
    entry: int, value: torch.Tensor, complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        residuals() + residuals({entry: value})
    assert str(refusal.value) == f"Residuals: {complaint}"


@pytest.mark.parametrize("count", [0, 6, 8])
def test_residuals_ask_for_as_many_weights_as_they_have_entries(count: int) -> None:
    with pytest.raises(ValueError) as refusal:
        residuals().scaled([1.0] * count)
    assert str(refusal.value) == (
        f"Residuals: there must be 7 weights, one for each skip, for the middle and for each level, not {count}"
    )
