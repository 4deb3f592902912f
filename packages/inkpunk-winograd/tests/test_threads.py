"""Work takes as many threads as it is worth, whoever does it."""

import threading

import pytest
import torch
from inkpunk_winograd import accelerate, changes, few_threads, restore, why_not_native
from inkpunk_winograd.native.threads import (
    PRODUCTS_A_THREAD,
    _mkl,  # pyright: ignore[reportPrivateUsage]
    native_threads_for,
    threads_for,
    with_threads,
)
from torch import Tensor, nn

pytestmark = [
    pytest.mark.skipif(why_not_native() is not None, reason="without native kernels, torch decides"),
    pytest.mark.usefixtures("two_threads"),
]


def threads_of(layer: nn.Module, input: Tensor) -> int:
    """How many threads a layer's own forward pass may take."""
    seen: list[int] = []

    class Seen(type(layer)):
        def forward(self, input: Tensor) -> Tensor:
            seen.append(torch.get_num_threads())
            return super().forward(input)

    accelerate(layer)
    layer.__class__ = Seen  # after the fact: `accelerate` takes plain layers only
    with torch.no_grad():
        layer(input)
    return seen[0]


@pytest.mark.parametrize(
    ("layer", "small", "large"),
    [
        (nn.Linear(256, 256), (2, 256), (512, 256)),
        (nn.Conv2d(64, 64, 1), (2, 64, 8, 8), (2, 64, 64, 64)),
        (nn.Conv2d(64, 64, 3, stride=2, padding=1), (2, 64, 8, 8), (2, 64, 64, 64)),
        (nn.Conv2d(64, 64, 3, groups=64, padding=1), (2, 64, 16, 16), (2, 64, 128, 128)),
        (nn.Conv2d(8, 8, 3, padding=1), (1, 8, 8, 8), (1, 8, 128, 128)),
        (nn.GroupNorm(4, 64), (2, 64, 8, 8), (2, 64, 64, 64)),
        (nn.LayerNorm(128), (64, 128), (1024, 128)),
    ],
)
def test_small_layers_get_one_thread_and_large_ones_all(
    layer: nn.Module, small: tuple[int, ...], large: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert threads_of(layer, torch.zeros(small)) == 1
    layer.__class__ = type(layer).__mro__[1]
    assert threads_of(layer, torch.zeros(large)) == 2


def test_one_more_thread_for_each_share_of_the_work() -> None:
    assert [threads_for(share * PRODUCTS_A_THREAD) for share in (0.1, 1.9, 2.0, 3.0, 1e6)] == [1, 1, 2, 2, 2]


def test_only_the_calling_thread_has_fewer_and_only_meanwhile() -> None:
    elsewhere: list[int] = []

    def look() -> int:
        other = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        other.start()
        other.join()
        return torch.get_num_threads()

    assert with_threads(1, look) == 1
    assert elsewhere == [2]
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        with_threads(1, lambda: 1 // 0)
    assert torch.get_num_threads() == 2
    assert with_threads(5, torch.get_num_threads) == 2  # never more than it may have


def test_it_can_be_left_out_and_is_restored() -> None:
    assert not changes(accelerate(nn.LayerNorm(8), threads=False))
    assert not changes(accelerate(nn.LayerNorm(8), native=False))
    layer = accelerate(nn.LayerNorm(8))
    assert changes(layer)
    assert not changes(restore(layer))


def test_with_gradients_it_is_as_without() -> None:
    layer = nn.GroupNorm(4, 64)
    seen: list[int] = []
    layer.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    accelerate(layer)(torch.zeros(1, 64, 2, 2, requires_grad=True)).sum().backward()
    assert layer.weight.grad is not None
    assert seen == [2]


def test_mkl_has_as_few_where_torch_was_told_how_many() -> None:
    mkl = _mkl()
    if mkl is None:
        pytest.skip("this torch has none")
    torch.set_num_threads(2)  # from now on MKL goes by this, and not by OpenMP
    with few_threads(1):
        assert mkl(1) == 1
    assert mkl(2) == 2


def test_native_kernels_may_have_more() -> None:
    with few_threads(1, native=2):
        assert (threads_for(1e12), native_threads_for(1e12)) == (1, 2)
    with few_threads(1):
        assert native_threads_for(1e12) == 1
    assert native_threads_for(1e12) == 2
