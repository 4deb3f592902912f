import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk_winograd import accelerate, explain
from torch import nn


@pytest.mark.usefixtures("by_onednn")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it does the same for each example
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 70), st.integers(1, 70), st.booleans()
)
def test_an_accelerated_linear_layer_is_linear(sizes: list[int], ins: int, outs: int, biased: bool) -> None:
    torch.manual_seed(0)
    layer = accelerate(nn.Linear(ins, outs, bias=biased))
    inputs = torch.randn(*sizes, ins)
    strided = inputs.transpose(0, -1).contiguous().transpose(0, -1)
    expected = F.linear(inputs, layer.weight, layer.bias)
    with torch.no_grad():
        for each in (inputs, strided):
            assert torch.allclose(layer(each), expected, atol=1e-5)
    layer(inputs).sum().backward()  # with gradients, torch's way
    assert layer.weight.grad is not None


@pytest.mark.usefixtures("by_onednn")
@torch.no_grad()
def test_it_says_which_way_it_takes() -> None:
    layer = accelerate(nn.Linear(4, 4))
    assert explain(layer, torch.ones(2, 4)).layers[0].why == "oneDNN"
    assert explain(layer, torch.ones(4)).layers[0].why.startswith("torch's")


@pytest.mark.parametrize(
    ("processor", "why"),
    [
        ("AVX512", "not asked for"),
        ("AVX2", "torch's own are faster on this processor (AVX2)"),
        ("DEFAULT", "torch's own are faster on this processor (DEFAULT)"),
    ],
)
def test_it_is_chosen_by_the_processor(processor: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    assert explain(accelerate(nn.Linear(4, 4))).changed == (processor == "AVX512")
    assert explain(nn.Linear(4, 4)).layers[0].why == why
