"""Products of bfloat16 with sums of float32: the same sums as of rounded factors in float64, whatever does them."""

import copy
import platform
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd import (
    accelerate,
    convolve_doubled,
    explain,
    native_attention,
    restore,
    why_not_bfloat16,
    wrap,
)
from inkpunk_winograd.native import products as native
from inkpunk_winograd.native.narrow_attention import narrow_attention
from inkpunk_winograd.native.products import MULTIPLE, why_no_native_products
from inkpunk_winograd.products import conv2d_products, linear_products, why_no_products
from torch import Tensor, nn

needs_bfloat16 = pytest.mark.skipif(
    why_no_native_products() is not None, reason=str(why_no_native_products())
)
# the native kernels by vectors and, where the processor has them, by tiles; and torch's own operations
WAYS = ["torch", *(["vectors", "tiles"] if why_no_native_products() is None else [])]
SUMMED = 4e-6  # of the largest: sums of some thousand terms in float32, in any order
GIVEN = 2**-8  # of each: what is given in bfloat16 is rounded once more


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have products take one of the ways."""
    if request.param == "vectors":
        monkeypatch.setattr("inkpunk_winograd.native.products.has_tiles", lambda: False)
        monkeypatch.setattr("inkpunk_winograd.native.narrow_attention.has_tiles", lambda: False)
    return request.param


def assert_close(result: Tensor, right: Tensor) -> None:
    """Within what sums, and the dtype that they are given in, lose."""
    slack = SUMMED * right.abs().max() + (GIVEN * right.abs() if result.dtype is torch.bfloat16 else 0)
    assert ((result.double() - right).abs() <= slack).all()


def rounded(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().double()


dtypes = st.sampled_from([torch.float32, torch.bfloat16])


@pytest.mark.parametrize("by", WAYS)
@given(st.data())
def test_a_convolution_sums_the_products_of_rounded_pixels(by: str, data: st.DataObject) -> None:
    batch, height, width = (data.draw(st.integers(1, most)) for most in (3, 40, 40))
    channels, out = (MULTIPLE * data.draw(st.integers(1, 5)) for _ in range(2))
    side, dtype, biased = data.draw(st.sampled_from([1, 3])), data.draw(dtypes), data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    images = torch.randn(batch, channels, height, width, generator=generator).to(dtype)
    weight = torch.randn(out, channels, side, side, generator=generator).bfloat16()
    bias = torch.randn(out, generator=generator) if biased else None
    right = F.conv2d(
        rounded(images), weight.double(), None if bias is None else bias.double(), padding=side // 2
    )
    weight = weight.contiguous(memory_format=torch.channels_last)
    if by == "torch":
        result = conv2d_products(images, weight, bias, native=False)
    else:
        pixels = images.permute(0, 2, 3, 1).contiguous()
        result = native.native_products(pixels, weight, bias, tiles=by == "tiles").permute(0, 3, 1, 2)
    assert result.dtype is dtype
    assert_close(result, right)


def test_a_picture_larger_than_a_block_is_cut(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 96 channels in 300 x 272 pixels take 16 MB when they are packed: two blocks of rows
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 96, 300, 272, generator=generator)
    weight = (
        torch.randn(32, 96, 3, 3, generator=generator)
        .bfloat16()
        .contiguous(memory_format=torch.channels_last)
    )
    right = F.conv2d(rounded(images), weight.double(), padding=1)
    assert_close(conv2d_products(images, weight, native=way != "torch"), right)
    small = images[:, :, ::2, ::2]
    right = F.conv2d(rounded(doubled(small)), weight.double(), padding=1)
    assert_close(conv2d_products(small, weight, doubled=True, native=way != "torch"), right)


def doubled(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2.0, mode="nearest")


@pytest.mark.parametrize("by", WAYS)
@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), dtypes)
def test_a_doubled_picture_is_convolved_as_if_it_were_there(
    by: str, seed: int, batch: int, height: int, width: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 64, height, width, generator=generator).to(dtype)
    weight = torch.randn(32, 64, 3, 3, generator=generator).bfloat16()
    weight, bias = weight.contiguous(memory_format=torch.channels_last), torch.randn(32, generator=generator)
    if by == "torch":
        result = conv2d_products(images, weight, bias, doubled=True, native=False)
        right = conv2d_products(doubled(images), weight, bias, native=False)
    else:
        small, large = (each.permute(0, 2, 3, 1).contiguous() for each in (images, doubled(images)))
        result = native.native_products(small, weight, bias, doubled=True, tiles=by == "tiles")
        right = native.native_products(large, weight, bias, tiles=by == "tiles")
    assert torch.equal(result, right)


class Doubling(nn.Module):
    """As a decoder ends its levels."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(32, 32, **{"kernel_size": 3, "padding": 1} | settings)

    def forward(self, images: Tensor) -> Tensor:
        return convolve_doubled(self.conv, images)


@pytest.mark.parametrize(
    ("settings", "dtype", "spared"),
    [
        ({}, torch.bfloat16, True),
        ({}, torch.float32, False),
        ({"stride": 2}, torch.bfloat16, False),
        ({"padding": 0}, torch.bfloat16, False),
        ({"kernel_size": 1, "padding": 0}, torch.bfloat16, False),
        ({"padding_mode": "circular"}, torch.bfloat16, False),
    ],
)
@torch.no_grad()
def test_a_doubled_picture_is_not_made_where_it_need_not_be(
    settings: dict[str, Any], dtype: torch.dtype, spared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, images = Doubling(**settings), torch.randn(1, 32, 6, 5)
    right = model.conv(doubled(images))
    accelerate(model, dtype=dtype)
    made = Mock(wraps=F.interpolate)
    monkeypatch.setattr("inkpunk_winograd.acceleration.F.interpolate", made)
    result = model(images)
    assert result.shape == right.shape
    assert (result - right).abs().max() <= 2e-2 * right.abs().max()  # of 8 bits
    assert made.called is not (spared and why_no_native_products() is None)


@torch.no_grad()
def test_whatever_is_around_a_convolution_sees_the_doubled_picture() -> None:
    seen: list[torch.Size] = []
    model, images = Doubling(), torch.randn(1, 32, 6, 5)
    accelerate(model, dtype=torch.bfloat16)
    undo = wrap(model.conv, lambda layer, inner, given: (seen.append(given.shape), inner(layer, given))[1])
    model(images)
    undo()
    model.conv.register_forward_pre_hook(lambda layer, given: seen.append(given[0].shape))
    model(images)
    assert seen == [(1, 32, 12, 10)] * 2


@given(st.data())
def test_a_linear_layer_sums_the_products_of_rounded_numbers(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 9), max_size=3))
    ins, outs = (MULTIPLE * data.draw(st.integers(1, 40)) for _ in range(2))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    inputs = torch.randn(*sizes, ins, generator=generator).to(data.draw(dtypes))
    weight, bias = (
        torch.randn(outs, ins, generator=generator).bfloat16(),
        torch.randn(outs, generator=generator),
    )
    right = F.linear(rounded(inputs), weight.double(), bias.double())
    result = linear_products(inputs, weight, bias, native=data.draw(st.booleans()))
    assert result.shape == right.shape
    assert_close(result, right)


@needs_bfloat16
@given(st.data())
def test_attention_sums_the_products_of_rounded_numbers(data: st.DataObject) -> None:
    batch, heads, tokens, context, width = (data.draw(st.integers(1, most)) for most in (2, 3, 200, 700, 170))
    dtype, tiles = data.draw(dtypes), data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    query, key, value = (
        torch.randn(batch, count, heads, width, generator=generator).to(dtype).transpose(1, 2)
        for count in (tokens, context, context)
    )
    result = narrow_attention(query, key, value, scale=width**-0.5, tiles=tiles)
    assert result.dtype is dtype
    right = F.scaled_dot_product_attention(*map(rounded, (query, key, value)))
    # weights are rounded, too, to 8 bits each: what is summed of them errs as a random walk does
    assert (result.double() - right).abs().max() <= GIVEN * value.abs().max()


@needs_bfloat16
def test_attention_tells_what_is_no_number_and_nothing_beside_it() -> None:
    query, key, value = torch.randn(3, 1, 2, 50, 40, generator=torch.Generator().manual_seed(0))
    plain = native_attention(query, key, value, products=torch.bfloat16)
    query[0, 1, 7] = torch.nan
    result = native_attention(query, key, value, products=torch.bfloat16)
    assert result[0, 1, 7].isnan().all()
    result[0, 1, 7] = plain[0, 1, 7]
    assert torch.equal(result, plain)


class Small(nn.Module):
    """Layers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1)
        self.down = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, 64)
        self.same = nn.Conv2d(64, 64, 3, padding="same")
        self.point = nn.Conv2d(64, 32, 1)
        self.out = nn.Linear(32, 64)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.same(F.silu(self.norm(self.down(self.first(images)))))
        return self.out(self.point(hidden).flatten(2).mT)


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model() -> nn.Module:
    """Random weights."""
    torch.manual_seed(0)
    return Small().eval()


@torch.no_grad()
def test_an_accelerated_model_is_near_itself_and_given_back(model: nn.Module, way: str) -> None:
    before = model(images())
    accelerate(model, dtype=torch.bfloat16, native=way != "torch")
    after = model(images())
    assert after.dtype is torch.float32
    assert (
        0 < (after - before).abs().max() < 0.02 * before.abs().max()
    )  # five layers that each round to 8 bits
    restore(model)
    assert torch.equal(model(images()), before)


@torch.no_grad()
def test_a_model_of_bfloat16_takes_float32_and_keeps_all_but_products_in_it(
    model: nn.Module, way: str
) -> None:
    right = model(images())
    narrow = model.bfloat16()
    plain = narrow(images().bfloat16())
    accelerate(narrow, dtype=torch.bfloat16, native=way != "torch")
    wide, asked = narrow(images()), narrow(images().bfloat16())
    assert (wide.dtype, asked.dtype) == (torch.float32, torch.bfloat16)
    assert {each.dtype for each in narrow.parameters()} == {torch.bfloat16}  # nothing was widened for good
    errors = [(each.float() - right).norm() for each in (wide, asked, plain)]
    assert errors[0] < errors[2]  # what lies between products is exact
    assert errors[1] < 1.2 * errors[2]


@needs_bfloat16
@torch.no_grad()
def test_a_picture_is_the_same_bits_in_any_batch(model: nn.Module) -> None:
    accelerate(model, dtype=torch.bfloat16)
    hidden = torch.randn(3, 64, 9, 16, generator=torch.Generator().manual_seed(1))
    for layer, inputs in ((model.same, hidden), (model.out, hidden[:, :32].flatten(2).mT)):
        assert torch.equal(layer(inputs)[1:2], layer(inputs[1:2]))


@torch.no_grad()
def test_changed_weights_are_seen(model: nn.Module) -> None:
    accelerate(model, dtype=torch.bfloat16)
    before = model(images())
    model.same.weight *= 2
    assert not torch.equal(model(images()), before)
    twin = copy.deepcopy(model)
    twin.out.weight.zero_()
    assert torch.equal(twin(images()), twin.out.bias.expand(2, 96, 64))
    assert not torch.equal(model(images()), twin(images()))


def test_with_gradients_the_model_is_plain(model: nn.Module) -> None:
    right = model(images())
    accelerate(model, dtype=torch.bfloat16)
    assert torch.equal(model(images()), right)
    model(images()).sum().backward()
    assert model.out.weight.grad is not None


@torch.no_grad()
def test_it_says_of_each_layer_what_it_multiplies_in(model: nn.Module) -> None:
    accelerate(model, dtype=torch.bfloat16)
    whys = {layer.name: layer.why for layer in explain(model, images()).layers}
    assert whys["same"] == whys["out"] == whys["point"] == "products of bfloat16"
    assert whys["down"] == "products of bfloat16 by torch"
    assert "bfloat16" not in whys["first"]
    assert why_no_products(model.first) == "its channels, 3 and 32, are not multiples of 32"


def test_other_dtypes_are_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"dtype torch.float16: must be torch.float32 or torch.bfloat16"):
        accelerate(model, dtype=torch.float16)


def test_a_processor_without_tiles_is_told_that_it_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_processor_has", lambda question: False)
    assert why_not_bfloat16() == "this processor does not multiply bfloat16 (AVX512_BF16)"


@needs_bfloat16
@pytest.mark.skipif(platform.system() != "Linux", reason="looks at Linux's processors")
def test_tiles_are_used_where_the_processor_has_them() -> None:
    assert native.has_tiles() == ("amx_bf16" in Path("/proc/cpuinfo").read_text())
