import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_vae import Posterior


def posterior(
    mean: float, log_variance: float, scaling: float = 1.0, shape: tuple = (1, 1, 1, 1)
) -> Posterior:
    moments = torch.cat([torch.full(shape, mean), torch.full(shape, log_variance)], dim=1)
    return Posterior.from_moments(moments, scaling)


@given(st.floats(-10, 10, width=32), st.floats(-30, 20, width=32), st.sampled_from([0.18215, 1.0]))
def test_std_is_the_root_of_the_exponential_and_both_are_scaled(
    mean: float, log_variance: float, scaling: float
):
    found = posterior(mean, log_variance, scaling)
    assert found.mean.item() == pytest.approx(mean * scaling, rel=1e-6, abs=1e-30)
    assert found.std.item() == pytest.approx(math.exp(log_variance / 2) * scaling, rel=1e-5)


@given(st.floats(allow_nan=False, width=32))
def test_no_log_variance_gives_a_std_of_zero_or_infinity(log_variance: float):
    half = Posterior.from_moments(torch.tensor([0.0, log_variance]).half().view(1, 2, 1, 1), 0.18215)
    for found in (posterior(0.0, log_variance), half):
        assert 0 < found.std.item() < math.inf


def test_the_log_variance_is_clamped_to_between_minus_30_and_20():
    assert posterior(0.0, -100.0).std.item() == posterior(0.0, -30.0).std.item()
    assert posterior(0.0, 100.0).std.item() == posterior(0.0, 20.0).std.item()
    assert posterior(0.0, -29.0).std.item() > posterior(0.0, -30.0).std.item()
    assert posterior(0.0, 19.0).std.item() < posterior(0.0, 20.0).std.item()


def test_no_noise_samples_the_mean():
    found = posterior(1.5, 0.3, shape=(2, 3, 4, 5))
    assert torch.equal(found.sample(torch.zeros(2, 3, 4, 5)), found.mean)


def test_samples_have_the_posterior_s_mean_and_std():
    found = posterior(2.0, math.log(0.25), shape=(1, 1, 400, 400))
    samples = found.sample(torch.randn(1, 1, 400, 400, generator=torch.Generator().manual_seed(0)))
    # 160,000 samples: their mean strays by 0.5 / 400 = 0.00125 as a rule, their std by less; five times that.
    assert samples.mean().item() == pytest.approx(2.0, abs=0.00625)
    assert samples.std().item() == pytest.approx(0.5, abs=0.00625)


def test_noise_of_another_shape_is_refused_rather_than_broadcast():
    with pytest.raises(ValueError, match=r"\(1, 1, 1, 1\).*\(2, 3, 4, 5\)"):
        posterior(0.0, 0.0, shape=(2, 3, 4, 5)).sample(torch.zeros(1, 1, 1, 1))
