"""The native group normalisation is the normalisation, whatever it is given, and by however many threads."""

import platform

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from inkpunk_winograd import few_threads, is_fit_for_group_norm, native_group_norm, why_not_native
from inkpunk_winograd.native import norm
from torch import Tensor

pytestmark = pytest.mark.skipif(why_not_native() is not None, reason="no native kernels here")


def last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def in_float64(
    images: Tensor, groups: int, weight: Tensor, bias: Tensor, epsilon: float, silu: bool
) -> Tensor:
    result = F.group_norm(images.double(), groups, weight.double(), bias.double(), epsilon)
    return F.silu(result) if silu else result


@given(st.data())
def test_it_is_group_normalisation(data: st.DataObject) -> None:
    channels = norm.MULTIPLE * data.draw(st.integers(1, 20))
    groups = data.draw(
        st.sampled_from([each for each in (1, 2, 8, 16, 32, channels) if channels % each == 0])
    )
    batch, height, width = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 40)),
    )
    assume(
        height * width * (channels // groups) >= 64
    )  # few may lie close together, which magnifies what they lost
    far, silu, in_place = data.draw(st.floats(-100, 100)), data.draw(st.booleans()), data.draw(st.booleans())
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    images = last(torch.randn(batch, channels, height, width, generator=generator) + far)
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16]))
    weight, bias = (torch.randn(channels, generator=generator).to(dtype) for _ in range(2))
    epsilon = data.draw(st.sampled_from([1e-6, 1e-5]))
    right = in_float64(images, groups, weight, bias, epsilon, silu)
    assert is_fit_for_group_norm(images)
    result = native_group_norm(images, groups, weight, bias, epsilon, silu=silu, in_place=in_place)
    assert (result.data_ptr() == images.data_ptr()) is in_place
    assert result.is_contiguous(memory_format=torch.channels_last)
    # a number loses up to half its last bit, of the size of its distance from zero
    assert (result - right).abs().max() <= 1e-6 * (1 + abs(far)) * (1 + right.abs().max())


def test_far_from_zero_it_loses_less_than_torch() -> None:
    images = last(torch.randn(1, 64, 96, 96, generator=torch.Generator().manual_seed(0)) + 1000)
    weight, bias = torch.ones(64), torch.zeros(64)
    right = in_float64(images, 32, weight, bias, 1e-6, silu=False)
    ours, torchs = (
        native_group_norm(images, 32, weight, bias, 1e-6),
        F.group_norm(images, 32, weight, bias, 1e-6),
    )
    assert (ours - right).abs().max() <= min(2e-4, float((torchs - right).abs().max()))


@pytest.mark.parametrize("channels", [32, 320, norm.MOST_CHANNELS])
def test_no_bit_depends_on_threads_or_on_what_is_beside(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkpunk_winograd.native.threads.PRODUCTS_A_THREAD", 1)
    images = last(torch.randn(3, channels, 33, 21, generator=torch.Generator().manual_seed(0)))
    weight, bias = torch.randn(channels), torch.randn(channels)
    whole = native_group_norm(images, 16, weight, bias, silu=True)
    for threads in (1, 2, 3):
        with few_threads(1, native=threads):
            assert torch.equal(native_group_norm(images, 16, weight, bias, silu=True), whole)
    alone = [native_group_norm(last(each[None]), 16, weight, bias, silu=True) for each in images]
    assert torch.equal(torch.cat(alone), whole)


def test_silu_of_what_is_large_is_what_it_was_and_of_what_is_no_number_none() -> None:
    images = last(torch.zeros(1, 16, 8, 8))
    bias = torch.tensor([-200.0, -90.0, -20.0, -1.0, 0.0, 1.0, 20.0, 90.0, 200.0, 3e38, *[0.0] * 6])
    result = native_group_norm(images, 16, torch.ones(16), bias, silu=True)[0, :, 0, 0]
    assert torch.allclose(result, F.silu(bias), rtol=1e-6, atol=1e-37)
    images[0, 3, 2, 2] = torch.nan
    result = native_group_norm(images, 16, torch.ones(16), bias, silu=True)
    assert result[0, 3].isnan().all()
    assert result[0, [*range(3), *range(4, 16)]].isfinite().all()


def test_what_it_does_not_take_is_not_fit() -> None:
    fit = last(torch.zeros(1, 32, 4, 4))
    assert is_fit_for_group_norm(fit)
    assert not is_fit_for_group_norm(fit.contiguous())
    assert not is_fit_for_group_norm(fit.bfloat16())
    assert not is_fit_for_group_norm(fit[0])
    assert not is_fit_for_group_norm(fit[:, :24])
    assert not is_fit_for_group_norm(fit[:0])
    assert not is_fit_for_group_norm(last(torch.zeros(1, norm.MOST_CHANNELS + 16, 1, 2)))
    assert not is_fit_for_group_norm(fit.requires_grad_())
    ones = torch.ones(32)
    for images, groups in ((fit.detach().contiguous(), 8), (fit.detach(), 5)):
        with pytest.raises(ValueError, match="not fit"):
            native_group_norm(images, groups, ones, ones)


@pytest.mark.skipif(platform.system() == "Windows", reason="nothing is built there")
def test_without_kernels_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKPUNK_NATIVE", "0")
    monkeypatch.setattr(norm, "load", norm.load.__wrapped__)
    monkeypatch.setattr("inkpunk_winograd.native.library.load", norm.load)
    images = last(torch.zeros(1, 32, 4, 4))
    assert not is_fit_for_group_norm(images)
    with pytest.raises(RuntimeError, match="no native norm: INKPUNK_NATIVE=0"):
        native_group_norm(images, 8, torch.ones(32), torch.zeros(32))
