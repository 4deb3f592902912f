import pytest
import torch
from inkpunk_winograd import accelerate, explain, restore
from inkpunk_winograd.native.library import SWITCH, load
from torch import nn

pytestmark = pytest.mark.usefixtures("by_onednn")


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.Conv2d(64, 8, 1),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.AvgPool2d(8),
        nn.Flatten(),
        nn.Linear(8 * 49, 4),
    ).eval()


def test_it_tells_of_each_layer_what_was_changed_or_why_not() -> None:
    told = explain(accelerate(model()))
    assert [layer.name for layer in told.layers] == ["0", "1", "2", "3", "6"]
    assert [layer.changed for layer in told.layers] == [True, True, False, True, True]
    assert told.layers[2].why == "its kernel is 1x1, not 3x3"
    assert told.changed == 4
    assert str(told).startswith("4 of 5 layers changed; native kernels ")
    assert "1 Conv2d: left: its kernel is 1x1, not 3x3 (2)" in str(told)


def test_of_an_input_it_tells_the_way_that_each_layer_took() -> None:
    fast = accelerate(model())
    ways = {layer.name: layer.why for layer in explain(fast, torch.zeros(1, 64, 56, 56)).layers}
    assert ways["0"].startswith("F(4x4, 3x3)")
    assert ways["3"] == "direct: few channels at [1, 8, 56, 56]"
    assert ways["6"] == "oneDNN"
    fast.double()
    ways = {layer.name: layer.why for layer in explain(fast, torch.zeros(1, 64, 56, 56).double()).layers}
    assert ways["6"].startswith("torch's: not float32")


def test_of_a_plain_model_it_says_that_nobody_asked() -> None:
    for plain in (
        model(),
        restore(accelerate(model())),
        accelerate(model(), convolutions=False, channels_last=False, linears=False),
    ):
        told = explain(plain)
        assert told.changed == 0
        assert told.layers[0].why == "accelerate was not called, or told to leave convolutions"


def test_it_says_why_no_native_kernels_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    load.cache_clear()
    try:
        told = explain(accelerate(model()), torch.zeros(1, 64, 56, 56))
    finally:
        load.cache_clear()
    assert told.why_not_native == "INKPUNK_NATIVE=0 in the environment leaves them out"
    assert "native kernels not in use: INKPUNK_NATIVE=0" in str(told)
    assert told.layers[0].why == "F(4x4, 3x3) in torch operations" or told.layers[0].why.startswith("direct")
    assert (
        explain(accelerate(model(), native=False)).why_not_native == "accelerate(native=False) left them out"
    )
