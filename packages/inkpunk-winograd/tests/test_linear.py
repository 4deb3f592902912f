import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd import accelerate, explain
from torch import nn


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


@torch.no_grad()
def test_it_says_which_way_it_takes() -> None:
    layer = accelerate(nn.Linear(4, 4))
    assert explain(layer, torch.ones(2, 4)).layers[0].why == "oneDNN"
    assert explain(layer, torch.ones(4)).layers[0].why.startswith("torch's")
