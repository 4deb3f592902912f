import threading

import pytest
import torch
import torch.nn.functional as F
from inkpunk_winograd import accelerate, acceleration, changes, restore
from inkpunk_winograd.acceleration import Filtered
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

ROUNDING = 1e-5  # float32, hundreds of channels, outputs of about unit variance


def model() -> nn.Sequential:
    """What can be made cheaper, and one each of what cannot."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 320, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(320, 320, 3, padding="same"),
        nn.Conv2d(320, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 5, (3, 1), padding=(1, 0)),
    ).eval()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tiles of the convolutions that were computed by minimal filtering, in their order."""
    used: list[int] = []

    def spy(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, tile: int, memory: int, native: bool
    ) -> Tensor:
        used.append(tile)
        return original(x, weight, bias, tile=tile, memory=memory, native=native)

    original = acceleration.winograd_conv2d
    monkeypatch.setattr(acceleration, "winograd_conv2d", spy)
    return used


@torch.no_grad()
def test_the_result_is_the_same_but_for_rounding(ways: list[int]) -> None:
    plain, fast = model(), accelerate(model())
    x = torch.randn(1, 3, 52, 44)
    assert torch.allclose(fast(x), plain(x), atol=ROUNDING)
    assert ways  # at least one of them was worth it


@torch.no_grad()
def test_it_is_undone_without_a_trace() -> None:
    network = model()
    before = network.state_dict()
    parameters = [id(parameter) for parameter in network.parameters()]
    x = torch.randn(1, 3, 32, 32)
    expected = network(x)
    assert restore(accelerate(accelerate(network, memory=1 << 20, native=False))) is network
    assert [type(part) for part in network] == [type(part) for part in model()]
    assert [id(parameter) for parameter in network.parameters()] == parameters
    assert network.state_dict().keys() == before.keys()
    assert torch.equal(network(x), expected)
    assert all(vars(part).keys() == vars(other).keys() for part, other in zip(network, model(), strict=True))


def test_names_and_hooks_stay() -> None:
    network, called = model(), []
    network[0].register_forward_hook(lambda *_: called.append(True))
    fast = accelerate(network)
    assert fast.state_dict().keys() == model().state_dict().keys()
    fast(torch.randn(1, 3, 16, 16))
    assert called


def test_a_convolution_alone_can_be_made_cheaper() -> None:
    *_, outermost = changes(accelerate(nn.Conv2d(8, 8, 3, padding=1)))
    assert isinstance(outermost, Filtered)


def test_gradients_take_the_direct_way(ways: list[int]) -> None:
    plain, fast = (make(nn.Conv2d(320, 320, 3, padding=1)) for make in (nn.Module.eval, accelerate))
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(1, 320, 48, 48)
    for network in (plain, fast):
        network(x).square().sum().backward()
    assert torch.equal(plain.weight.grad, fast.weight.grad)
    assert not ways


@torch.no_grad()
@pytest.mark.parametrize("trial", ["autocast", "meta", "fake", "misfit", "empty"])
def test_what_it_is_not_made_for_takes_the_direct_way(trial: str, ways: list[int]) -> None:
    fast = accelerate(nn.Conv2d(320, 320, 3, padding=1))
    x = torch.randn(1, 320, 24, 24)
    fast(x)
    assert ways  # it is large enough
    ways.clear()
    if trial == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            assert fast(x).dtype == torch.bfloat16
    elif trial == "meta":
        assert fast.to("meta")(x.to("meta")).shape == x.shape
    elif trial == "fake":
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert fast(mode.from_tensor(x)).shape == x.shape
    elif trial == "misfit":
        with pytest.raises(RuntimeError, match="channels"):  # torch's own words
            fast(x[:, :3])
    else:
        assert fast(x[:0]).shape == (0, 320, 24, 24)
    assert not ways


@torch.no_grad()
def test_an_image_without_a_batch_is_taken_too(ways: list[int]) -> None:
    fast = accelerate(nn.Conv2d(320, 320, 3, padding=1))
    x = torch.randn(320, 48, 48)
    assert torch.allclose(fast(x), F.conv2d(x, fast.weight, fast.bias, padding=1), atol=ROUNDING)
    assert ways


@torch.no_grad()
def test_threads_do_not_disturb_each_other(ways: list[int]) -> None:
    fast = accelerate(nn.Conv2d(320, 320, 3, padding=1))
    inputs = [torch.randn(1, 320, 48 + 4 * index, 48) for index in range(4)]
    expected, results = [fast(x) for x in inputs], [None] * len(inputs)

    @torch.no_grad()  # the mode is each thread's own
    def work(index: int) -> None:
        for _ in range(3):
            results[index] = fast(inputs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(result, right) for result, right in zip(results, expected, strict=True))
    assert ways
