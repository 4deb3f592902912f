"""Inputs that do not fit are refused in one line that says which, what and why.

Here the annotations are not checked at run time, as they are not for a user.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
import pytest
import torch
from inkpunk_unet import (
    ControlNet,
    ControlNetConfig,
    Residuals,
    T2IAdapter,
    T2IAdapterConfig,
    UNet,
    UNetConfig,
)


@pytest.fixture(autouse=True)
def unchecked_annotations() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


SMALL = UNetConfig(widths=(32, 64), attention=(True, True), context_width=24)


def good() -> dict[str, torch.Tensor]:
    return {
        "latents": torch.zeros(2, 4, 8, 8),
        "timesteps": torch.tensor([1, 2]),
        "context": torch.zeros(2, 5, 24),
    }


@pytest.fixture(scope="module")
def unet() -> UNet:
    return UNet(SMALL)


@pytest.fixture(scope="module")
def control() -> ControlNet:
    return ControlNet(ControlNetConfig(SMALL, hint_widths=(4, 4, 4, 4)))


@pytest.fixture(scope="module")
def adapter() -> T2IAdapter:
    return T2IAdapter(T2IAdapterConfig(widths=SMALL.widths))


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


# -- what joins the levels --


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ((None,), "residuals.levels must be 2, one for each level, not 1"),
        ((None,) * 3, "residuals.levels must be 2, one for each level, not 3"),
        (
            (torch.zeros(2, 32, 4, 4), None),
            "each of residuals.levels must be [2, 32, 8, 8], not [2, 32, 4, 4]",
        ),
        (
            (None, torch.zeros(1, 64, 4, 4)),
            "each of residuals.levels must be [2, 64, 4, 4], not [1, 64, 4, 4]",
        ),
        (
            (None, torch.zeros(2, 64, 4, 4).half()),
            "each of residuals.levels must be torch.float32, not torch.float16",
        ),
    ],
)
def test_levels_that_do_not_fit_are_refused_in_one_line(
    unet: UNet, levels: tuple[torch.Tensor | None, ...], complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        unet(**good(), residuals=Residuals(levels=levels))
    assert str(refusal.value) == f"UNet: {complaint}"


@pytest.mark.parametrize(
    ("one", "other", "complaint"),
    [
        (
            (None,) * 2,
            (None,) * 4,
            "sets of 2 and 4 levels do not add; they are for different networks",
        ),
        (
            (None, torch.zeros(2, 64, 4, 4)),
            (None, torch.zeros(2, 64, 4, 3)),
            "the second set's levels[1] must be [2, 64, 4, 4], not [2, 64, 4, 3]",
        ),
        (
            (torch.zeros(2, 32, 8, 8), None),
            (torch.zeros(2, 32, 8, 8).double(), None),
            "the second set's levels[0] must be torch.float32, not torch.float64",
        ),
    ],
)
def test_levels_that_do_not_fit_each_other_do_not_add(
    one: tuple[torch.Tensor | None, ...], other: tuple[torch.Tensor | None, ...], complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        Residuals(levels=one) + Residuals(levels=other)
    assert str(refusal.value) == f"Residuals: {complaint}"


# -- control networks --


@pytest.mark.parametrize(
    "size", [(3, 64, 64), (2, 1, 64, 64), (2, 3, 63, 64), (2, 3, 64, 4), (2, 3, 0, 64)], ids=str
)
def test_hints_that_do_not_fit_are_refused_in_one_line(
    control: ControlNet, adapter: T2IAdapter, size: tuple[int, ...]
) -> None:
    for name, read in (("ControlNet", control.encode_hint), ("T2IAdapter", adapter)):
        with pytest.raises(ValueError) as refusal:
            read(torch.zeros(size))
        assert str(refusal.value) == (
            f"{name}: hint must be [batch, 3, height, width], each side a multiple of 8, not {list(size)}"
        )


@pytest.mark.parametrize("size", [(1, 32, 8, 8), (2, 16, 8, 8), (2, 32, 8, 9), (32, 8, 8)], ids=str)
def test_features_of_another_hint_are_refused_in_one_line(control: ControlNet, size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as refusal:
        control(**good(), hint_features=torch.zeros(size))
    assert str(refusal.value) == (
        "ControlNet: hint_features must be [2, 32, 8, 8], for a hint eight times as high and wide as the latents, "
        f"not {list(size)}"
    )


def test_features_of_another_dtype_are_refused_in_one_line(control: ControlNet) -> None:
    with pytest.raises(ValueError) as refusal:
        control(**good(), hint_features=torch.zeros(2, 32, 8, 8).double())
    assert str(refusal.value) == "ControlNet: hint_features must be torch.float32, not torch.float64"


def test_a_control_network_refuses_what_its_unet_would(control: ControlNet) -> None:
    with pytest.raises(ValueError) as refusal:
        control(**(good() | {"context": torch.zeros(2, 5, 768)}), hint_features=torch.zeros(2, 32, 8, 8))
    assert str(refusal.value) == "ControlNet: context must be [2, tokens, 24], not [2, 5, 768]"


NO_HINT = "where there are 8 in Stable Diffusion v1's: not a ControlNet's weights, or not under this package's names"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda weights: unlike(weights, "hint."),
            f"ControlNetConfig.from_weights: 0 convolutions of a hint's encoder, {NO_HINT}",
        ),
        (
            lambda weights: unlike(weights, "hint.convolutions.7."),
            f"ControlNetConfig.from_weights: 7 convolutions of a hint's encoder, {NO_HINT}",
        ),
        (
            lambda weights: weights | {"hint.convolutions.2.weight": torch.zeros(4, 4)},
            f"ControlNetConfig.from_weights: 8 convolutions of a hint's encoder, {NO_HINT}",
        ),
        (
            lambda weights: unlike(weights, "conv_in."),
            "UNetConfig.from_weights: no 'conv_in.weight': not a UNet's weights, or not under this package's names",
        ),
    ],
)
def test_weights_of_no_control_network_are_refused_in_one_line(
    control: ControlNet, spoil: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        ControlNetConfig.from_weights(spoil(dict(control.state_dict())))
    assert str(refusal.value) == complaint


def unlike(weights: dict[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(start)}


FIRST = ("conv_in.weight", "levels.0.conv_in.weight")  # of a whole adapter, of a light one


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        (lambda weights: {}, "first convolution of a picture's pixels"),
        (
            lambda weights: {name: tensor for name, tensor in weights.items() if name not in FIRST},
            "first convolution of a picture's pixels",
        ),
        (
            lambda weights: weights | dict.fromkeys(FIRST, torch.zeros(32, 100, 1, 1)),
            "first convolution of a picture's pixels",
        ),
        (lambda weights: unlike(weights, "levels.0.blocks."), "block in the first level"),
        (
            lambda weights: weights | {name: torch.zeros(()) for name in weights if name not in FIRST},
            "block in the first level",
        ),
    ],
)
def test_weights_of_no_adapter_are_refused_in_one_line(
    spoil: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], missing: str, light: bool
) -> None:
    adapter = T2IAdapter(T2IAdapterConfig(widths=SMALL.widths, light=light))
    with pytest.raises(ValueError) as refusal:
        T2IAdapterConfig.from_weights(spoil(dict(adapter.state_dict())))
    assert str(refusal.value) == (
        f"T2IAdapterConfig.from_weights: no {missing}: not a T2I-Adapter's weights, or not under this package's names"
    )


@pytest.mark.parametrize(
    ("config", "numbers", "complaint"),
    [
        (ControlNetConfig, {"hint_widths": ()}, "hint_widths must be positive, not ()"),
        (
            ControlNetConfig,
            {"hint_widths": (16, 2**40)},
            "hint_widths must be at most 65536, not (16, 1099511627776)",
        ),
        (ControlNetConfig, {"hint_widths": (4,) * 17}, "hint_widths must be of at most 16 levels, not of 17"),
        (ControlNetConfig, {"hint_channels": 0}, "hint_channels must be positive, not 0"),
        (T2IAdapterConfig, {"hint_channels": 3.5}, "hint_channels must be whole numbers only, not 3.5"),
        (T2IAdapterConfig, {"layers": 33}, "layers must be at most 32, not 33"),
        (T2IAdapterConfig, {"widths": (2**40,)}, "widths must be at most 65536, not (1099511627776,)"),
        (
            T2IAdapterConfig,
            {"widths": (30,), "light": True},
            "widths of a light one must divide by 4, not (30,)",
        ),
    ],
)
def test_numbers_of_no_control_network_are_refused(
    config: type[ControlNetConfig | T2IAdapterConfig], numbers: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        config(**numbers)
    assert str(refusal.value) == f"{config.__name__}: {complaint}"
