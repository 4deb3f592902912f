"""What is recorded for a CUDA device, when, and what it is given; on a CPU, by a recording that computes.

`tests/test_cuda.py` has the device's own.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from inkpunk import Pipeline
from inkpunk.models import assembling
from inkpunk.speed import Speed, graphs, speed_up
from inkpunk.speed.graphs import KEPT, Recorded
from inkpunk_unet import Residuals, UNet, UNetConfig
from inkpunk_winograd import changes, wrap
from torch import Tensor


class Pretended:
    """Counts what is recorded, and what is computed plainly."""

    def __init__(self) -> None:
        self.recorded, self.plain, self.failing = 0, 0, False

    def captured(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        if self.failing:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded += 1

        def computed() -> Tensor:
            result = compute()
            self.plain -= 1  # which it is not
            return result

        output = torch.zeros_like(computed())  # a capture computes nothing

        def replay() -> None:
            output.copy_(computed())

        return replay, output


def small() -> UNet:
    return UNet(
        UNetConfig(widths=(32, 32), attention=(True, False), layers=1, heads=1, context_width=8)
    ).eval()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    """As if the CPU were such a device."""
    pretended = Pretended()
    monkeypatch.setattr(graphs, "DEVICE", "cpu")
    monkeypatch.setattr(graphs, "captured", pretended.captured)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return pretended


@pytest.fixture
def unet(pretended: Pretended) -> UNet:
    """One that is recorded."""
    unet = small()

    def count(network: UNet, inner: Any, *inputs: Any) -> Tensor:
        pretended.plain += 1
        return inner(network, *inputs)

    wrap(unet, count)
    wrap(unet, Recorded())
    return unet


def inputs(unet: UNet, seed: int = 0, rows: int = 2, side: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    context = torch.randn(rows, 5, unet.config.context_width, generator=generator)
    timesteps = torch.randint(0, 1000, (rows,), generator=generator).float()
    return torch.randn(rows, 4, side, side, generator=generator), timesteps, context


def plainly(unet: UNet, *given: Any) -> Tensor:
    return type(unet).forward(unet, *given)


@torch.no_grad()
def test_the_first_pass_is_plain_the_second_recorded_and_the_others_played(
    unet: UNet, pretended: Pretended
) -> None:
    for turn in range(4):
        given = inputs(unet, seed=turn)
        assert torch.equal(unet(*given), plainly(unet, *given))
        assert pretended.recorded == min(turn, 1)
    first = unet(*inputs(unet, seed=1))
    kept = first.clone()
    unet(*inputs(unet, seed=2))
    assert torch.equal(first, kept), "a result is the caller's own"


@torch.no_grad()
def test_each_shape_has_a_recording_and_the_last_ones_are_kept(unet: UNet, pretended: Pretended) -> None:
    for rows in range(1, KEPT + 2):
        for seed in (1, 2):
            given = inputs(unet, seed=seed, rows=rows)
            assert torch.equal(unet(*given), plainly(unet, *given))
    assert pretended.recorded == KEPT + 1
    unet(*inputs(unet, rows=KEPT + 1))
    assert pretended.recorded == KEPT + 1
    unet(*inputs(unet, rows=1))  # the first to go: met again
    assert pretended.recorded == KEPT + 1


@torch.no_grad()
def test_residuals_are_inputs_and_which_there_are_is_part_of_the_shape(
    unet: UNet, pretended: Pretended
) -> None:
    for turn in range(3):
        given = inputs(unet, seed=turn)
        middle = torch.randn(2, unet.config.widths[-1], 4, 4, generator=torch.Generator().manual_seed(turn))
        for residuals in (None, Residuals(), Residuals(middle=middle)):
            assert torch.equal(unet(*given, residuals), plainly(unet, *given, residuals))
    assert pretended.recorded == 3


@torch.no_grad()
def test_weights_that_were_exchanged_are_recorded_anew(unet: UNet, pretended: Pretended) -> None:
    for _ in range(2):
        unet(*inputs(unet))
    unet.conv_out.bias.add_(1)  # in their place, where the recording reads them
    assert torch.equal(unet(*inputs(unet)), plainly(unet, *inputs(unet)))
    assert pretended.recorded == 1
    unet.conv_out.bias.data = unet.conv_out.bias.data + 1
    assert torch.equal(unet(*inputs(unet)), plainly(unet, *inputs(unet)))
    assert pretended.recorded == 2
    unet.load_state_dict({name: tensor + 1 for name, tensor in unet.state_dict().items()}, assign=True)
    assert torch.equal(unet(*inputs(unet)), plainly(unet, *inputs(unet)))
    assert pretended.recorded == 3


def test_what_is_watched_or_large_stays_plain(
    unet: UNet, pretended: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST", 2 * 8 * 8)
    with torch.no_grad():
        for _ in range(3):
            unet(*inputs(unet, side=12))
    for _ in range(3):
        unet(*inputs(unet)).sum().backward()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            unet(*inputs(unet))
    assert (pretended.recorded, pretended.plain) == (0, 9)


@torch.no_grad()
def test_a_pass_that_cannot_be_recorded_stays_plain(unet: UNet, pretended: Pretended) -> None:
    pretended.failing = True
    for _ in range(3):
        assert torch.equal(unet(*inputs(unet)), plainly(unet, *inputs(unet)))
    pretended.failing = False
    unet(*inputs(unet))
    assert (pretended.recorded, pretended.plain) == (0, 4)


@torch.no_grad()
def test_a_copy_records_for_itself(unet: UNet, pretended: Pretended) -> None:
    for _ in range(2):
        unet(*inputs(unet))
    twin = copy.deepcopy(unet)
    twin.conv_out.bias.add_(1)
    for _ in range(3):
        assert torch.equal(twin(*inputs(unet)), plainly(twin, *inputs(unet)))
    assert pretended.recorded == 2


def test_it_is_for_cuda_and_can_be_left_out() -> None:
    for device, speed, recorded in (
        ("cuda", Speed(), True),
        ("cuda", Speed(graphs=False), False),
        ("cpu", Speed(), False),
        ("mps", Speed(), False),
    ):
        made = small()
        speed_up(made, device=torch.device(device), speed=speed)
        assert any(isinstance(each, Recorded) for each in changes(made)) is recorded


@pytest.mark.parametrize("offload", [False, True])
def test_a_network_that_moves_between_devices_is_not_recorded(
    tiny: Path, offload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sped_up = Mock()
    monkeypatch.setattr(assembling, "speed_up", sped_up)
    Pipeline.load(tiny, device="meta", offload=offload)
    assert sped_up.call_args_list[0].kwargs["speed"].graphs is not offload
