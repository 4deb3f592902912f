"""Every call of our functions is checked in the workspace's tests."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from inkpunk.models.conversion import convert_checkpoint
from inkpunk_clip import Tokenizer
from inkpunk_sampling import NoiseSchedule
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import open_checkpoint
from inkpunk_winograd import accelerate
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from tests.typed import typed


@typed
def joined(one: Float[Tensor, "n"], other: Float[Tensor, "n"], wrong: bool = False) -> Float[Tensor, "n n"]:
    return one if wrong else torch.outer(one, other)


@typed
def halved(number: int, wrong: bool = False) -> int:
    return number / 2 if wrong else number // 2  # type: ignore


@typed
def counted(number: "int", others: "list[OnlyImportedByATypeChecker]" = 0) -> Iterator[int]:
    yield number


@typed
def first(things: list["int"], others: list["OnlyImportedByATypeChecker"] = ()) -> int:
    return things[0]


@typed
@dataclass
class Pair:
    one: Float[Tensor, "n"]
    other: Float[Tensor, "n"]


TWO, THREE = torch.ones(2), torch.ones(3)


def test_what_fits_passes() -> None:
    assert joined(TWO, TWO).shape == (2, 2)
    assert joined(THREE, THREE).shape == (3, 3)  # sizes hold for one call
    assert halved(3) == 1
    assert first([3], "anything") == 3
    assert [*counted(3, "anything")] == [3]
    assert Pair(TWO, other=TWO).one is TWO


@pytest.mark.parametrize(
    "call",
    [
        lambda: joined(TWO, THREE),
        lambda: joined(TWO, TWO, wrong=True),
        lambda: joined(TWO.int(), TWO.int()),
        lambda: joined(torch.ones(2, 2), TWO),
        lambda: halved("3"),
        lambda: halved(3, wrong=True),
        lambda: counted("3"),
        lambda: first(["3"]),
        lambda: Pair(TWO, THREE),
        lambda: convert_checkpoint(7, 8),
        lambda: Tokenizer.from_files(7),
        lambda: NoiseSchedule().signal("3"),
        lambda: UNet(UNetConfig(widths=(32,), attention=(True,), context_width=8))(
            torch.ones(1, 4, 8, 8), torch.tensor([1, 1]), torch.ones(1, 7, 8)
        ),
        lambda: VAE(VAEConfig(widths=(8,), layers=1, groups=4)).decode(torch.ones(4, 8, 8)),
        lambda: open_checkpoint(7),
        lambda: accelerate("a network"),
    ],
)
def test_what_does_not_is_refused(call) -> None:
    with pytest.raises(TypeCheckError):
        call()
