from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import seeded_noise
from torch import Tensor

SEEDS = st.integers(0, 2**63 - 1)
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def draws(seeds: list[int], shape: list[int], count: int = 3) -> Tensor:
    return torch.stack(list(islice(seeded_noise(seeds, shape), count)), dim=1)


@given(st.lists(SEEDS, min_size=1, max_size=5), SHAPES, st.randoms())
@settings(deadline=None, max_examples=40)
def test_an_image_draws_the_same_alone_and_in_any_batch_and_order(seeds, shape, random):
    alone = {seed: draws([seed], shape)[0] for seed in seeds}
    random.shuffle(seeds)
    assert all(torch.equal(own, alone[seed]) for seed, own in zip(seeds, draws(seeds, shape), strict=True))


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_noise_is_torchs_own_float32_noise_of_that_seed(seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(4, 8, 8, generator=generator) for _ in range(2))
    noise = seeded_noise([seed], (4, 8, 8))
    assert torch.equal(next(noise), first[None]) and torch.equal(next(noise), second[None])


def test_different_seeds_and_draws_differ():
    noise = draws([1, 2], [4, 8, 8])
    assert len({tuple(picture.flatten().tolist()) for picture in noise.flatten(0, 1)}) == 6


def test_seeds_count_modulo_two_to_the_thirty_two():
    # A property of torch's generator that the docstring states: were it to change, so would the statement.
    assert torch.equal(draws([5], [16]), draws([5 + 2**32], [16]))


def test_noise_is_standard_normal():
    noise = draws([3], [100_000], count=1)
    # Five standard errors of a mean and of a variance of 100,000 draws.
    assert abs(noise.mean().item()) < 5 / 100_000**0.5
    assert abs(noise.var().item() - 1) < 5 * (2 / 100_000) ** 0.5


def test_global_random_state_and_default_dtype_do_not_matter_and_are_left_alone():
    expected = draws([1], [8])
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(draws([1], [8]), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("seeds", "shape", "message"),
    [
        ([], (4, 8, 8), "one for each image"),
        ([1, -1], (4, 8, 8), "seed -1: give 0 to 9223372036854775807"),
        ([2**63], (4, 8, 8), "seed 9223372036854775808: give 0"),
        ([1], (4, 0, 8), "at least 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_drawn(seeds, shape, message):
    with pytest.raises(ValueError, match=message):
        seeded_noise(seeds, shape)
