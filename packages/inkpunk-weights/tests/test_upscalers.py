"""Networks that make pictures larger are opened as they are published; what is none is refused by what it is."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from inkpunk_weights import CheckpointError, open_upscaler
from safetensors.torch import save_file
from torch import Tensor

NAMES = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.bias")


def network(number: float = 0.0) -> dict[str, Tensor]:
    return {name: torch.full((2, 3), number) for name in NAMES}


@pytest.mark.parametrize(
    "content",
    [
        network(),
        {"params_ema": network(), "params": network(1)},
        {"params": network()},
        {"state_dict": network(), "epoch": 3},
    ],
    ids=["bare", "averaged", "last", "in training"],
)
def test_a_published_file_is_opened_by_its_own_names(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "4x.pth")
    tensors = open_upscaler(tmp_path / "4x.pth").tensors
    assert {*tensors} == {*NAMES}
    assert not any(tensor.any() for tensor in tensors.values())


def test_safetensors_are_opened(tmp_path: Path) -> None:
    save_file(network(), tmp_path / "4x.safetensors")
    assert {*open_upscaler(tmp_path / "4x.safetensors").tensors} == {*NAMES}


class Runs:
    """What a pickle would run."""

    def __init__(self, work: Callable[..., object], *arguments: object) -> None:
        self.given = work, arguments

    def __reduce__(self) -> Any:
        return self.given


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    torch.save({"params": network(), "more": Runs(Path.touch, tmp_path / "ran")}, tmp_path / "4x.pth")
    with suppress(CheckpointError):  # it may be refused as well
        assert {*open_upscaler(tmp_path / "4x.pth").tensors} == {*NAMES}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lora_unet_down_blocks_0.lora_up.weight", "a LoRA"),
        ("down_blocks.0.resnets.0.conv1.weight", "a checkpoint"),
        ("ip_adapter.1.to_k_ip.weight", "an image prompt"),
    ],
)
def test_what_is_none_is_refused_by_what_it_is(name: str, what: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(320, 4, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=f"not an upscaler but {what}"):
        open_upscaler(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"none\.pth: cannot be read"):
        open_upscaler(tmp_path / "none.pth")
